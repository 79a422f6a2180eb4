//! Istio's log levels on top of `tracing`.

use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Why logging could not be set up. A retry does not help.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// A part of the flag that is not `level` or `scope:level`.
    #[error("invalid log level {0:?}: expected a list like \"default:info,ads:debug\" of none, fatal, error, warn, info and debug")]
    Level(String),
    /// Something has set a global subscriber already.
    #[error("logging is set up already: {0}")]
    AlreadySet(#[from] tracing_subscriber::util::TryInitError),
}

/// Directs the logs of the whole process to stderr.
///
/// `level` has the forms of Istio's `--log_output_level`: `info`, `default:info`, `ads:debug,default:info`; a scope is
/// the name of a crate of ours. `as_json` is `--log_as_json`: one JSON object a line.
pub fn init_logging(level: &str, as_json: bool) -> Result<(), LoggingError> {
    let filter = directives(level)?;
    let filter = EnvFilter::try_new(&filter).map_err(|_| LoggingError::Level(level.to_owned()))?;
    let registry = tracing_subscriber::registry().with(filter);
    if as_json {
        registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()?;
    } else {
        // Colours are for people who look on; a file is for machines.
        registry.with(fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr)).try_init()?;
    }
    Ok(())
}

/// Translates Istio's list of levels into directives of `EnvFilter`.
fn directives(level: &str) -> Result<String, LoggingError> {
    let mut parts = Vec::new();
    let mut has_default = false;
    for part in level.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (scope, name) = part.split_once(':').unwrap_or(("default", part));
        let name = level_name(name).ok_or_else(|| LoggingError::Level(part.to_owned()))?;
        let is_scope = !scope.is_empty() && scope.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        match scope {
            "default" | "all" => {
                has_default = true;
                parts.push(name.to_owned());
            }
            _ if is_scope => parts.push(format!("{}={name}", scope.replace('-', "_"))),
            _ => return Err(LoggingError::Level(part.to_owned())),
        }
    }
    if !has_default {
        parts.push("info".to_owned());
    }
    Ok(parts.join(","))
}

/// Istio's levels; `fatal` has no counterpart and is the nearest one.
fn level_name(name: &str) -> Option<&'static str> {
    match name {
        "none" => Some("off"),
        "fatal" | "error" => Some("error"),
        "warn" => Some("warn"),
        "info" => Some("info"),
        "debug" => Some("debug"),
        "trace" => Some("trace"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_istios_flag() {
        assert_eq!(directives("default:info").unwrap(), "info");
        assert_eq!(directives("ads:debug,default:warn").unwrap(), "ads=debug,warn");
        assert_eq!(directives("kube-source:none").unwrap(), "kube_source=off,info");
        assert_eq!(directives("debug").unwrap(), "debug");
        assert!(matches!(directives("ads:loud"), Err(LoggingError::Level(part)) if part == "ads:loud"));
        assert!(directives("a b:info").is_err());
    }
}
