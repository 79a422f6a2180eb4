//! Which files below a folder are configuration.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Every configuration file at or below `path`, sorted.
///
/// Hidden files and folders are left out, and with them the `..data` and `..2026_01_31` folders of a mounted ConfigMap,
/// whose visible files are links into them. A folder that is reached twice through links counts once. A folder below that
/// cannot be listed is left out and logged.
pub fn files_below(path: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    collect(path, &mut BTreeSet::new(), &mut files)?;
    Ok(files)
}

fn collect(folder: &Path, visited: &mut BTreeSet<PathBuf>, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if !visited.insert(fs::canonicalize(folder)?) {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    // Links last, so that it is always the folder's own path that counts.
    entries.sort_by_key(|path| (path.is_symlink(), path.clone()));
    for path in entries.into_iter().filter(|path| !is_hidden(path)) {
        // Follows links: a ConfigMap's files are links.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() {
            if is_configuration(&path) {
                files.insert(path);
            }
        } else if metadata.is_dir()
            && let Err(error) = collect(&path, visited, files)
        {
            tracing::warn!(folder = %path.display(), %error, "a folder is left out, because it cannot be listed");
        }
    }
    Ok(())
}

/// Whether the name ends in `.yaml`, `.yml` or `.json`.
pub fn is_configuration(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

/// Whether the name begins with a dot.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}
