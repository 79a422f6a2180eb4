//! Which object a document is: kind, namespace and name, read as the API server would.

use super::{suggest::nearest, tree::Node};
use base::{Namespace, ObjectRef};
use istio_api::Kind;
use std::sync::Arc;

/// Kind, namespace and name; versions do not count (v1, v1beta1 and v1alpha3 are one object).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// Empty for a kind without namespaces.
    pub namespace: Namespace,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// The same as diagnostics show it.
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef { kind: self.kind.as_str(), namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// What `apiVersion` and `kind` say of a document.
pub enum Identity {
    /// A kind that we read.
    Known(Kind),
    /// A kind of somebody else: skipped silently.
    Foreign,
    /// Nothing, or something that is none of Istio's kinds but claims to be; code, field and text of the diagnostic.
    Unknown(&'static str, &'static str, String),
}

/// Reads `apiVersion` and `kind`.
pub fn identify(node: &Node) -> Identity {
    let text = |field| node.get(field).and_then(Node::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if kind.is_empty() {
        return Identity::Unknown("MissingKind", "kind", "kind is missing; write what the document is, e.g. kind: VirtualService".into());
    }
    if api_version.is_empty() {
        let proposal = with_name(kind).map(|kind| format!("; write apiVersion: {}", kind.api_version())).unwrap_or_default();
        return Identity::Unknown("MissingKind", "apiVersion", format!("apiVersion is missing{proposal}"));
    }
    if let Some(kind) = Kind::from_api(api_version, kind) {
        return Identity::Known(kind);
    }
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    match with_name(kind) {
        Some(known) if !known.is_kubernetes() && (group.is_empty() || is_istio(group)) => Identity::Unknown(
            "UnknownKind",
            "apiVersion",
            format!("there is no {kind} in apiVersion {api_version}; write apiVersion: {}", known.api_version()),
        ),
        _ if is_istio(group) => {
            let kinds = Kind::ALL.iter().filter(|kind| !kind.is_kubernetes()).map(|kind| kind.as_str());
            let proposal = nearest(kind, kinds).map(|kind| format!("; did you mean {kind}?")).unwrap_or_default();
            Identity::Unknown("UnknownKind", "kind", format!("there is no kind {kind} in apiVersion {api_version}{proposal}"))
        }
        _ => Identity::Foreign,
    }
}

fn with_name(kind: &str) -> Option<Kind> {
    Kind::ALL.iter().copied().find(|candidate| candidate.as_str() == kind)
}

/// Whether the group has kinds of Istio that we read (`install.istio.io` has none).
fn is_istio(group: &str) -> bool {
    Kind::ALL.iter().any(|kind| !kind.is_kubernetes() && kind.group() == group)
}

/// What is wrong with a name of an object of `kind`, if anything (Kubernetes' `ValidateObjectName` for each kind).
pub fn name_error(kind: Kind, name: &str) -> Option<String> {
    let as_label = matches!(kind, Kind::Service | Kind::Namespace);
    let longest = if as_label { 63 } else { 253 };
    if name.len() > longest {
        return Some(format!("is longer than {longest} characters; shorten it"));
    }
    let valid = if as_label { is_label(name) } else { name.split('.').all(is_label) };
    (!valid).then(|| {
        let dots = if as_label { "" } else { " and '.'" };
        format!("{name:?} is not a valid name; use lower-case letters, digits, '-'{dots}, with a letter or digit at both ends")
    })
}

/// What is wrong with the name of a namespace, if anything.
pub fn namespace_error(namespace: &str) -> Option<String> {
    name_error(Kind::Namespace, namespace)
}

/// A DNS-1123 label but for its length.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}
