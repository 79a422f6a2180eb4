//! Definitions that describe nothing of `spec` and `status`.

use istio_api::Kind;
use serde_json::{Value, json};

/// A definition of the form of those that Istio installs, with these versions, of which the last is stored. Also for kinds of
/// others that no cluster has by itself.
pub fn permissive_definition(kind: Kind, versions: &[&str]) -> Value {
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let schema = json!({ "type": "object", "properties": { "spec": anything, "status": anything } });
    let version = |(index, name): (usize, &&str)| {
        json!({
            "name": name, "served": true, "storage": index + 1 == versions.len(), "subresources": { "status": {} },
            "schema": { "openAPIV3Schema": schema },
        })
    };
    let (name, plural) = (kind.as_str(), kind.plural());
    // Without it, the API server does not serve a group of Kubernetes' own.
    let annotations = json!({ "api-approved.kubernetes.io": "unapproved, for a test" });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{}", kind.group()), "annotations": annotations },
        "spec": {
            "group": kind.group(),
            "names": {
                "kind": name, "listKind": format!("{name}List"), "plural": plural, "singular": name.to_lowercase(),
                "shortNames": kind.short_names(),
            },
            "scope": if kind.namespaced() { "Namespaced" } else { "Cluster" },
            "versions": versions.iter().enumerate().map(version).collect::<Vec<_>>(),
        },
    })
}
