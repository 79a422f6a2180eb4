//! Settings of the whole mesh: the ConfigMap `istio` with the keys `mesh` and `meshNetworks`.

pub mod extension_provider;
pub mod mesh_config;
pub mod mesh_networks;
pub mod proxy_config;

pub use extension_provider::ExtensionProvider;
pub use mesh_config::MeshConfig;
pub use mesh_networks::MeshNetworks;
pub use proxy_config::ProxyConfig;

use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The schema of MeshConfig, for reporting unknown fields and wrong types.
pub fn mesh_config_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(crate::schema::of::<MeshConfig>);
    &SCHEMA
}

/// The schema of ProxyConfig as it stands in `defaultConfig` and in the annotation `proxy.istio.io/config`.
pub fn proxy_config_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(crate::schema::of::<ProxyConfig>);
    &SCHEMA
}

/// The schema of MeshNetworks.
pub fn mesh_networks_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(crate::schema::of::<MeshNetworks>);
    &SCHEMA
}

/// The fields of a document: of an empty one, if it holds nothing at all.
fn fields(document: Value) -> Result<Map<String, Value>, serde_json::Error> {
    match document {
        Value::Null => Ok(Map::new()),
        Value::Object(fields) => Ok(fields),
        _ => Err(serde::de::Error::custom("the document is not a mapping of fields to values")),
    }
}

/// Lays the fields of `overlay` over those of `base`; null stands for "left out".
fn lay_over(base: &mut Map<String, Value>, overlay: Map<String, Value>) {
    base.extend(overlay.into_iter().filter(|(_, value)| !value.is_null()));
}

/// Lays the entries of the object `overlay[field]` over those of `base[field]`, and takes them out of `overlay`.
fn lay_over_within(base: &mut Map<String, Value>, overlay: &mut Map<String, Value>, field: &str) {
    if !overlay.get(field).is_some_and(Value::is_object) || !base.get(field).is_some_and(Value::is_object) {
        return;
    }
    if let (Some(Value::Object(under)), Some(Value::Object(over))) = (base.get_mut(field), overlay.remove(field)) {
        lay_over(under, over);
    }
}
