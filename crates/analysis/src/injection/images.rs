//! Pods that run another proxy than they would be given today (`IST0158`).

use super::{INJECTION, REVISION, config_map};
use crate::{
    Mesh, code,
    mesh::rows,
    report::{Report, list},
    workload::{PROXY, pods},
};
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let injectors = rows(&mesh.store.config_maps).filter(|map| map.metadata.name.starts_with("istio-sidecar-injector"));
    let images: BTreeMap<String, String> = injectors
        .map(|map| (map.metadata.name.to_string(), image(map.spec.data.get("values").map(String::as_str).unwrap_or_default())))
        .collect();
    for namespace in rows(&mesh.store.namespaces) {
        let labels = &namespace.metadata.labels;
        let revision = labels.get(REVISION).or_else(|| (labels.get(INJECTION) == Some("enabled")).then_some("default"));
        let Some(expected) = revision.and_then(|revision| images.get(&config_map(revision))) else { continue };
        let own = pods(mesh).filter(|pod| pod.metadata.namespace.as_str() == &*namespace.metadata.name);
        let own = own.filter(|pod| pod.metadata.annotations.get("sidecar.istio.io/proxyImage").is_none_or(|image| image.is_empty()));
        let other = own.filter(|pod| {
            let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
            containers.filter(|container| container.name == PROXY).any(|container| container.image != *expected)
        });
        let names: Vec<_> = other.map(|pod| pod.metadata.name.clone()).collect();
        if !names.is_empty() {
            let text = format!(
                "The Istio proxy images of the pods running in the namespace do not match the image defined in the injection configuration \
                 (pod names: {}). This often happens after upgrading the Istio control-plane and can be fixed by redeploying the pods.",
                list(names)
            );
            report.add(code::PODS_ISTIO_PROXY_IMAGE_MISMATCH_IN_NAMESPACE, namespace.object_ref(), "", text);
        }
    }
}

/// The proxy's image by the injector's values: a whole name, or one that hub and tag complete.
fn image(values: &str) -> String {
    let values: Value = serde_json::from_str(values).unwrap_or_default();
    let text = |pointer: &str| values.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let image = text("/global/proxy/image");
    if image.contains('/') { image.to_owned() } else { format!("{}/{image}:{}", text("/global/hub"), text("/global/tag")) }
}
