//! `-o`: tables for people, JSON and YAML for programs.

use serde_json::Value;
use std::io::{self, Write};

/// The flag of the commands that show something.
#[derive(clap::Args, Clone, Copy)]
pub struct Output {
    /// Output format
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Short)]
    pub format: Format,
}

/// How something is shown.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table
    #[value(alias = "table")]
    Short,
    /// Everything, as JSON
    Json,
    /// Everything, as YAML
    Yaml,
}

impl Format {
    /// Writes what `table` makes, or else all of `value`.
    pub fn print(self, table: impl FnOnce() -> String, value: &Value) -> anyhow::Result<()> {
        let mut text = match self {
            Self::Short => table(),
            Self::Json => serde_json::to_string_pretty(value)?,
            Self::Yaml => serde_saphyr::to_string(value)?,
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        print(&text)
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
