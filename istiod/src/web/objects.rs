//! The users' objects: `configz`, `mesh` and `resourcesz`.

use super::{
    Window,
    debug::{Answer, Parameters},
    proxies::encode,
};
use istio_api::Kind;
use serde_json::{Value, json};

/// Istio's objects as the API server would write them. Kubernetes' own are left out, Secrets above all.
pub fn configz(window: &Window, _: &Parameters) -> Answer {
    let objects = window.published().store.objects();
    let shown = objects.iter().filter(|object| !object.kind().is_kubernetes());
    Ok(Value::Array(shown.filter_map(|object| object.to_value().ok()).collect()))
}

/// The mesh-wide settings.
pub fn mesh(window: &Window, _: &Parameters) -> Answer {
    encode(&*window.published().store.mesh)
}

/// The kinds of objects that are read.
pub fn resourcesz(_: &Window, _: &Parameters) -> Answer {
    let kinds = Kind::ALL.iter().map(|kind| {
        let (group, version) = kind.api_version().rsplit_once('/').unwrap_or(("", kind.api_version()));
        json!({"Group": group, "Version": version, "Kind": kind.as_str()})
    });
    Ok(kinds.collect())
}
