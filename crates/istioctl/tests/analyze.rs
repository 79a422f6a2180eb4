//! `istioctl analyze` on every folder of `tests/cases/analysis`.

use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// `analysis.yaml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What is wrong in `input.yaml`.
    purpose: String,
    /// Arguments beside the file.
    arguments: Vec<String>,
    /// The exit status.
    #[serde(default)]
    status: i32,
    /// What the output must hold: codes with the object that is at fault, and the other object.
    names: Vec<String>,
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/analysis");
    let wanted = std::env::var("CASE").unwrap_or_default();
    let folders = fs::read_dir(root).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.join("analysis.yaml").exists()).collect();
    folders.retain(|path| path.to_string_lossy().contains(&wanted));
    folders.sort();
    folders
}

/// What is wrong with a case; nothing if it is as it should be.
fn problem(folder: &Path) -> Result<Option<String>, Box<dyn std::error::Error>> {
    let case: Case = serde_saphyr::from_str(&fs::read_to_string(folder.join("analysis.yaml"))?)?;
    let mut program = Command::new(env!("CARGO_BIN_EXE_istioctl"));
    program.current_dir(folder).args(["analyze", "--use-kube=false", "--color=false"]).args(&case.arguments).arg("input.yaml");
    let output = program.output()?;
    let said = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    let expected = folder.join("expected.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&expected, &said)?;
    }
    let missing: Vec<&String> = case.names.iter().filter(|text| !said.contains(*text)).collect();
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    let mut problems = Vec::new();
    if case.purpose.is_empty() {
        problems.push("no purpose".to_owned());
    }
    if !missing.is_empty() {
        problems.push(format!("should name {missing:?}"));
    }
    if output.status.code() != Some(case.status) {
        problems.push(format!("should end with {}, not {}", case.status, output.status));
    }
    if said != wanted {
        problems.push(format!("should say\n{wanted}"));
    }
    Ok((!problems.is_empty()).then(|| format!("{}: {}\nsays\n{said}", folder.display(), problems.join("; "))))
}

#[test]
fn every_mistake_is_said_with_both_objects() -> Result<(), Box<dyn std::error::Error>> {
    let folders = folders();
    assert!(!folders.is_empty(), "no case");
    let mut problems = Vec::new();
    for folder in &folders {
        problems.extend(problem(folder)?);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}
