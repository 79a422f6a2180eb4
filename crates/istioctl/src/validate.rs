//! `istioctl validate -f FILE…`: what the API server and istiod would refuse.

use anyhow::bail;
use base::{Diagnostic, Level};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Validate Istio policy and rules files
#[derive(clap::Args)]
#[command(visible_alias = "v")]
pub struct Arguments {
    /// Inputs of files to validate: files, folders (with all below them) or - for standard input
    #[arg(short = 'f', long = "filename", value_delimiter = ',')]
    filename: Vec<String>,
}

/// Writes a line for every file; an error, which holds all errors of all files, if there is any.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.filename.is_empty() {
        bail!(
            "error: you must specify resources by --filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   \
             '--filename=rsrc.json'"
        );
    }
    let mut errors = Vec::new();
    let mut files = BTreeMap::new();
    for name in &arguments.filename {
        for path in inputs(name, &mut errors) {
            match read(&path) {
                Ok(text) => {
                    let shown = path.to_string_lossy().into_owned();
                    files.insert(shown.clone(), warnings_and_errors(config::file::check(&shown, &text), &mut errors));
                }
                Err(error) => errors.push(format!("cannot read file {:?}: {error}", path.display().to_string())),
            }
        }
    }
    let mut out = io::stdout().lock();
    for (name, warnings) in &files {
        if !warnings.is_empty() {
            if name != "-" {
                write!(out, "{name:?} has warnings: ")?;
            }
            writeln!(out, "\n\t{}\n", bullets(warnings))?;
        } else if errors.is_empty() {
            match name.as_str() {
                "-" => writeln!(out, "validation succeed")?,
                name => writeln!(out, "{name:?} is valid")?,
            }
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let occurred = if errors.len() == 1 { "1 error occurred".to_owned() } else { format!("{} errors occurred", errors.len()) };
    bail!("{occurred}:\n\t{}\n", bullets(&errors))
}

/// The files that a word of the command line stands for.
fn inputs(name: &str, errors: &mut Vec<String>) -> Vec<PathBuf> {
    let path = Path::new(name);
    if name == "-" {
        return vec![path.to_path_buf()];
    }
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => vec![path.to_path_buf()],
        Ok(_) => match config::file::files_below(path) {
            Ok(files) => files.into_iter().collect(),
            Err(error) => {
                errors.push(format!("cannot read folder {name:?}: {error}"));
                Vec::new()
            }
        },
        Err(error) => {
            errors.push(format!("cannot stat file {name:?}: {error}"));
            Vec::new()
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut text = Vec::new();
        io::stdin().lock().read_to_end(&mut text)?;
        return Ok(text);
    }
    fs::read(path)
}

/// Adds the errors to those of other files and returns the rest.
fn warnings_and_errors(diagnostics: Vec<Diagnostic>, errors: &mut Vec<String>) -> Vec<String> {
    let (wrong, doubtful): (Vec<_>, Vec<_>) = diagnostics.iter().partition(|diagnostic| diagnostic.level == Level::Error);
    errors.extend(wrong.into_iter().map(sentence));
    doubtful.into_iter().map(sentence).collect()
}

/// `VirtualService/shop/reviews: message (spec.http[0] at shop.yaml:12)`
fn sentence(diagnostic: &Diagnostic) -> String {
    let mut text = String::new();
    if let Some(object) = &diagnostic.object {
        let _ = write!(text, "{}/{}/{}: ", object.kind, object.namespace, object.name);
    }
    text.push_str(&diagnostic.message);
    let place = diagnostic.location.as_ref().map(|at| format!("{}:{}", at.file, at.line));
    match (diagnostic.field.as_str(), place) {
        ("", Some(place)) => {
            let _ = write!(text, " ({place})");
        }
        (field, Some(place)) => {
            let _ = write!(text, " ({field} at {place})");
        }
        _ => {}
    }
    text
}

fn bullets(points: &[String]) -> String {
    points.iter().map(|point| format!("* {point}")).collect::<Vec<_>>().join("\n\t")
}
