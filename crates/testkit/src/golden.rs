//! What is generated for a case against what its folder `expected/` keeps.

use crate::{case::Case, mesh, projection};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use similar::TextDiff;
use std::{collections::BTreeSet, fs, path::PathBuf};
use xds_wire::ResourceType;

/// Compares, or writes anew if `bless`.
///
/// # Errors
/// If something differs; the text shows the lines.
pub fn check(case: &Case, bless: bool) -> Result<()> {
    let (state, view) = mesh::build(case)?;
    mesh::check_findings(case, &mesh::diagnostics(&state))?;
    let folder = case.folder.join("expected");
    let mut wanted = BTreeSet::new();
    let mut differences = Vec::new();
    for kind in ResourceType::ALL {
        let Some(kept) = projection::project(&case.file.print, kind, &view)? else { continue };
        let path = folder.join(format!("{}.yaml", projection::file_stem(kind)));
        let text = yaml(&kept)?;
        if bless {
            fs::create_dir_all(&folder)?;
            fs::write(&path, &text)?;
        } else {
            let old = fs::read_to_string(&path).unwrap_or_default();
            if old != text {
                let diff = TextDiff::from_lines(&old, &text);
                differences.push(format!("{}\n{}", path.display(), diff.unified_diff().context_radius(3)));
            }
        }
        wanted.insert(path);
    }
    let stale: Vec<PathBuf> = left_over(&folder, &wanted)?;
    if bless {
        stale.iter().try_for_each(fs::remove_file)?;
        return Ok(());
    }
    ensure!(differences.is_empty(), "differs; `make bless` accepts this:\n{}", differences.join("\n"));
    ensure!(stale.is_empty(), "nothing is printed any more into {stale:?}; `make bless` removes it");
    Ok(())
}

fn yaml(value: &Value) -> Result<String> {
    serde_saphyr::to_string(value).context("as YAML")
}

fn left_over(folder: &PathBuf, wanted: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    Ok(entries.into_iter().filter(|path| !wanted.contains(path)).collect())
}
