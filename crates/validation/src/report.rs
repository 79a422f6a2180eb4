//! Where findings are collected, and the path of the field that is being looked at.

use base::{Diagnostic, Level, ObjectRef};
use std::fmt;

/// The findings of one object.
pub(crate) struct Report {
    object: ObjectRef,
    /// In the order in which they were found.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    pub fn new(object: ObjectRef) -> Self {
        Self { object, diagnostics: Vec::new() }
    }

    /// The field is wrong, so that the object must not be used (Istio's `IST0106`, SchemaValidationError).
    pub fn error(&mut self, at: &Field<'_>, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error("IST0106", Some(self.object.clone()), at.to_string(), message));
    }

    /// The field is probably not what was meant (Istio's `IST0133`, SchemaWarning).
    pub fn warning(&mut self, at: &Field<'_>, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning("IST0133", Some(self.object.clone()), at.to_string(), message));
    }

    /// A finding that Istio numbers on its own.
    pub fn finding(&mut self, level: Level, code: &'static str, at: &Field<'_>, message: impl Into<String>) {
        let finding = Diagnostic::error(code, Some(self.object.clone()), at.to_string(), message);
        self.diagnostics.push(Diagnostic { level, ..finding });
    }
}

/// The path of a field; only written out for a finding.
#[derive(Clone, Copy)]
pub(crate) enum Field<'a> {
    Root(&'static str),
    Key(&'a Field<'a>, &'a str),
    Index(&'a Field<'a>, usize),
}

impl<'a> Field<'a> {
    /// A field or key below this one.
    pub fn key(&'a self, key: &'a str) -> Field<'a> {
        Field::Key(self, key)
    }

    /// An item of this list.
    pub fn index(&'a self, index: usize) -> Field<'a> {
        Field::Index(self, index)
    }
}

impl fmt::Display for Field<'_> {
    /// `spec.http[0].route`; a key that is no plain word stands in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Root(name) => f.write_str(name),
            Field::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Field::Key(parent, key) if key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') => {
                write!(f, "{parent}.{key}")
            }
            Field::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

/// Calls `check` with every item of the list `name` below `at`, and its path.
pub(crate) fn each<T>(report: &mut Report, at: &Field<'_>, name: &str, items: &[T], mut check: impl FnMut(&mut Report, &Field<'_>, &T)) {
    let list = at.key(name);
    for (index, item) in items.iter().enumerate() {
        check(report, &list.index(index), item);
    }
}
