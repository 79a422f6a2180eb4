//! Which files the command line means, and what stands in them.

use anyhow::Context;
use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

/// One file.
pub struct File {
    /// As the user would type it; `-` for standard input.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// Endings of names that are looked at.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// Reads all files; those with other endings are passed over, which is said.
///
/// # Errors
/// A file or folder that cannot be read.
pub fn gather(names: &[String], recursive: bool) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for name in names {
        if name == "-" {
            let mut text = String::new();
            io::stdin().lock().read_to_string(&mut text)?;
            files.push(File { name: name.clone(), text });
            continue;
        }
        let path = Path::new(name);
        let metadata = fs::metadata(path).with_context(|| format!("stat {name}"))?;
        if metadata.is_dir() {
            folder(path, recursive, &mut files)?;
        } else {
            file(path, &mut files)?;
        }
    }
    Ok(files)
}

fn folder(path: &Path, recursive: bool, files: &mut Vec<File>) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        if !entry.is_dir() {
            file(&entry, files)?;
        } else if recursive {
            folder(&entry, recursive, files)?;
        }
    }
    Ok(())
}

fn file(path: &Path, files: &mut Vec<File>) -> anyhow::Result<()> {
    let name = path.to_string_lossy().into_owned();
    if !path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
        eprintln!("Skipping file {name}, recognized file extensions are: [.json .yaml .yml]");
        return Ok(());
    }
    let bytes = fs::read(path).with_context(|| format!("open {name}"))?;
    files.push(File { name, text: String::from_utf8_lossy(&bytes).into_owned() });
    Ok(())
}
