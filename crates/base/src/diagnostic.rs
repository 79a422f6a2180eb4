//! What is said to a user about an object: never an `Err`, because a bad object must not stop a good one.

use crate::ObjectRef;
use serde::Serialize;
use std::{fmt, sync::Arc};

/// How much a diagnostic matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum Level {
    /// The object, or the named part of it, is not used.
    Error,
    /// It is used, but probably not as meant.
    Warning,
    /// Worth knowing.
    Info,
}

/// A place in a file of the file source.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Location {
    /// The path below the configuration folder, as the user would type it.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
}

/// One finding about one object: what is wrong, where, and the way out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Diagnostic {
    /// How much it matters.
    pub level: Level,
    /// Stable for machines, in Istio's numbering where Istio has the message (`IST0106`), else a word of ours.
    pub code: &'static str,
    /// The object, where one could be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// The path of the field, `spec.http[0].route[1].weight`; empty if it is about the whole object.
    pub field: String,
    /// Where it stands, for objects from files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The text, which says what to do.
    pub message: String,
}

impl Diagnostic {
    /// An error about `field` of `object`.
    pub fn error(code: &'static str, object: Option<ObjectRef>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: Level::Error, code, object, field: field.into(), location: None, message: message.into() }
    }

    /// A warning about `field` of `object`.
    pub fn warning(code: &'static str, object: Option<ObjectRef>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, object, field, message) }
    }

    /// The same, with the place where it stands.
    pub fn at(mut self, file: &Arc<str>, line: usize) -> Self {
        self.location = Some(Location { file: file.clone(), line });
        self
    }
}

impl fmt::Display for Diagnostic {
    /// `shop.yaml:12: Error [IST0106] VirtualService shop/reviews spec.http[0].timeout: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.location {
            write!(f, "{}:{}: ", at.file, at.line)?;
        }
        write!(f, "{:?} [{}]", self.level, self.code)?;
        if let Some(object) = &self.object {
            write!(f, " {object}")?;
        }
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}
