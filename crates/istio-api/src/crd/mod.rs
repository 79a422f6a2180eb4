//! The CustomResourceDefinitions of Istio's kinds, rendered from the table of kinds and the schemas of the types.
//!
//! In: a [`Kind`]. Out: its definition as JSON, ready for `kubectl apply --server-side`; `crds/` holds all of them as YAML
//! (`make crds`). Names, versions, columns and rules are Istio's, so that a cluster may change from one to the other.
//! Read first: this file; then `structural.rs` for the schema, `rules.rs` for the rules.

mod columns;
pub(crate) mod rules;
mod status;
mod structural;

use crate::Kind;
use serde_json::{Map, Value, json};

/// The definition of one of Istio's kinds; none for Kubernetes' own.
pub fn definition(kind: Kind) -> Option<Value> {
    let schema = open_api_schema(kind)?;
    let versions: Vec<Value> = versions_by_name(kind)
        .into_iter()
        .map(|version| {
            let mut entry = Map::new();
            entry.insert("name".into(), version.into());
            entry.insert("served".into(), true.into());
            entry.insert("storage".into(), kind.versions().first().is_some_and(|first| *first == version).into());
            let columns = columns::of(kind);
            if !columns.is_empty() {
                entry.insert("additionalPrinterColumns".into(), columns.into());
            }
            entry.insert("schema".into(), json!({ "openAPIV3Schema": schema }));
            entry.insert("subresources".into(), json!({ "status": {} }));
            Value::Object(entry)
        })
        .collect();
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", kind.plural(), kind.group()),
            // Deleting a definition deletes all objects of the kind, which uninstalling a chart must not do.
            "annotations": { "helm.sh/resource-policy": "keep" },
            // As Istio labels its definitions: its installers find them so.
            "labels": { "app": "istio-pilot", "chart": "istio", "heritage": "Tiller", "release": "istio" },
        },
        "spec": {
            "group": kind.group(),
            "names": names(kind),
            "scope": "Namespaced",
            "versions": versions,
        },
    }))
}

/// The schema of whole objects, the same for every version.
fn open_api_schema(kind: Kind) -> Option<Value> {
    let mut spec = structural::render(kind.schema()?);
    let description = spec.get("description").cloned().unwrap_or_default();
    if let Value::Object(spec) = &mut spec {
        spec.insert("description".into(), "What is wanted.".into());
    }
    let mut schema = Map::new();
    schema.insert("description".into(), description);
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), json!({ "spec": spec, "status": status::schema(kind) }));
    if needs_spec(kind) {
        schema.insert("required".into(), json!(["spec"]));
    }
    Some(Value::Object(schema))
}

/// Whether an object without `spec` is refused; of the other kinds that is an object with all defaults.
pub fn needs_spec(kind: Kind) -> bool {
    matches!(kind, Kind::ServiceEntry | Kind::WorkloadEntry | Kind::WorkloadGroup | Kind::WasmPlugin | Kind::TrafficExtension)
}

fn names(kind: Kind) -> Value {
    let prefix = kind.group().replace('.', "-");
    let mut names = Map::new();
    names.insert("kind".into(), kind.as_str().into());
    names.insert("listKind".into(), format!("{kind}List").into());
    names.insert("plural".into(), kind.plural().into());
    names.insert("singular".into(), kind.as_str().to_ascii_lowercase().into());
    if !kind.short_names().is_empty() {
        names.insert("shortNames".into(), kind.short_names().into());
    }
    names.insert("categories".into(), json!(["istio-io", prefix]));
    Value::Object(names)
}

/// Sorted as Istio sorts them, which also is what `kubectl explain` shows first.
fn versions_by_name(kind: Kind) -> Vec<&'static str> {
    let mut versions = kind.versions().to_vec();
    versions.sort_unstable();
    versions
}
