//! The object behind a resource.

use crate::json::text;
use serde_json::Value;

/// `<name>.<namespace>` of the object that the metadata of a cluster or route names in the form
/// `/apis/<group>/<version>/namespaces/<namespace>/<kind>/<name>`; empty if none.
pub fn object(resource: &Value) -> String {
    let path = text(resource, "/metadata/filter_metadata/istio/config");
    match path.split('/').collect::<Vec<_>>().as_slice() {
        [""] => String::new(),
        ["", "apis", _, _, "namespaces", namespace, _, name] => format!("{name}.{namespace}"),
        _ => "<unknown>".to_owned(),
    }
}
