//! To which namespaces an object is shown (`exportTo`).

use crate::Namespace;
use std::collections::BTreeSet;

/// One entry of `exportTo`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ExportTo {
    /// `*`
    Everyone,
    /// `.`
    OwnNamespace,
    /// `~`: nobody, not even the own namespace.
    Nobody,
    /// A namespace by name.
    Namespace(Namespace),
}

impl ExportTo {
    /// Parses one entry; every other text names a namespace.
    pub fn parse(text: &str) -> Self {
        match text {
            "*" => Self::Everyone,
            "." => Self::OwnNamespace,
            "~" => Self::Nobody,
            name => Self::Namespace(Namespace::new(name)),
        }
    }
}

/// The whole `exportTo` of an object, resolved against its own namespace.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Visibility {
    /// Shown to every namespace.
    Public,
    /// Shown to these namespaces only (none of them: to nobody).
    Namespaces(BTreeSet<Namespace>),
}

impl Visibility {
    /// Resolves `exportTo` of an object in `own`; an empty list means `default`.
    pub fn resolve<'a>(entries: impl IntoIterator<Item = &'a str>, own: &Namespace, default: &[String]) -> Self {
        let mut entries: Vec<ExportTo> = entries.into_iter().map(str::trim).filter(|e| !e.is_empty()).map(ExportTo::parse).collect();
        if entries.is_empty() {
            entries = default.iter().map(|e| ExportTo::parse(e)).collect();
        }
        if entries.is_empty() || entries.contains(&ExportTo::Everyone) {
            return Self::Public;
        }
        if entries.contains(&ExportTo::Nobody) {
            return Self::Namespaces(BTreeSet::new());
        }
        let names = entries.into_iter().map(|entry| match entry {
            ExportTo::Namespace(name) => name,
            _ => own.clone(),
        });
        Self::Namespaces(names.collect())
    }

    /// Whether a client in `namespace` sees the object.
    pub fn allows(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Public => true,
            Self::Namespaces(names) => names.contains(namespace),
        }
    }

    /// Whether everyone who sees `other` sees this.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Public, _) => true,
            (Self::Namespaces(_), Self::Public) => false,
            (Self::Namespaces(own), Self::Namespaces(other)) => own.is_superset(other),
        }
    }

    /// Whether only the object's own namespace sees it.
    pub fn is_private(&self, own: &Namespace) -> bool {
        matches!(self, Self::Namespaces(names) if names.len() == 1 && names.contains(own))
    }
}
