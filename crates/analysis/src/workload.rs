//! Pods, and whether they belong to the mesh (Istio's `util/in_mesh.go`).

use crate::{Mesh, mesh::rows};
use istio_api::{
    Metadata, Object,
    kubernetes::pod::{Container, Pod},
};
use std::sync::Arc;

/// The proxy's container.
pub(crate) const PROXY: &str = "istio-proxy";

/// The label (and deprecated annotation) that turns injection on or off for a pod.
pub(crate) const INJECT: &str = "sidecar.istio.io/inject";

/// The pods.
pub(crate) fn pods<'a>(mesh: &Mesh<'a>) -> impl Iterator<Item = &'a Arc<Object<Pod>>> {
    rows(&mesh.store.pods)
}

/// Whether the pod has a proxy, or will have one.
pub(crate) fn in_mesh(mesh: &Mesh<'_>, metadata: &Metadata, containers: &[&[Container]]) -> bool {
    let proxy = containers.iter().copied().flatten().find(|container| container.name == PROXY);
    if proxy.is_some_and(|container| !container.image.is_empty()) {
        return true;
    }
    let own = metadata.labels.get(INJECT).or_else(|| metadata.annotations.get(INJECT).map(String::as_str)).map(|value| value == "true");
    let namespace =
        || mesh.namespace_labels(metadata.namespace.as_str()).is_some_and(|labels| labels.get("istio-injection") == Some("enabled"));
    own.unwrap_or_else(namespace)
}

/// Whether an object belongs to the control plane itself.
pub(crate) fn is_control_plane(metadata: &Metadata) -> bool {
    metadata.labels.get("istio").is_some() || metadata.labels.get("release") == Some("istio")
}

/// Namespaces that injection and analysis leave alone (Istio's `inject.IgnoredNamespaces`).
pub(crate) fn is_system_namespace(name: &str) -> bool {
    matches!(name, "kube-system" | "kube-public" | "kube-node-lease" | "local-path-storage")
}
