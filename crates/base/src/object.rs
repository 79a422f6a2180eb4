//! The name of one object of one kind: what a diagnostic, a NACK and every "why" point at.

use crate::Namespace;
use serde::Serialize;
use std::{fmt, sync::Arc};

/// Kind, namespace and name of an object, without its version (v1, v1beta1 and v1alpha3 are one object).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct ObjectRef {
    /// The Kubernetes kind, `VirtualService`; a row of the table of kinds.
    pub kind: &'static str,
    /// Empty for a kind without namespaces.
    pub namespace: Namespace,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// Puts the three parts together.
    pub fn new(kind: &'static str, namespace: impl Into<Namespace>, name: impl AsRef<str>) -> Self {
        Self { kind, namespace: namespace.into(), name: Arc::from(name.as_ref()) }
    }
}

impl fmt::Display for ObjectRef {
    /// `VirtualService shop/reviews`, or `Node worker-1` without a namespace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.as_str().is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}
