//! Networks of registries that nobody knows (`IST0126`).

use crate::{Mesh, code, mesh::rows, report::Report};
use base::ObjectRef;
use std::collections::BTreeSet;

/// The registries that are always known.
const BUILT_IN: [&str; 3] = ["Mock", "Kubernetes", "External"];

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let remote = rows(&mesh.store.secrets).filter(|secret| secret.metadata.labels.get("istio/multiCluster") == Some("true"));
    let known: BTreeSet<&str> = remote.flat_map(|secret| secret.spec.data.keys().map(String::as_str)).chain(BUILT_IN).collect();
    for (network, settings) in &mesh.store.networks.networks {
        for (index, endpoints) in settings.endpoints.iter().enumerate() {
            let Some(registry) = endpoints.from_registry.as_deref().filter(|registry| !known.contains(registry)) else { continue };
            let text = format!("Unknown service registry {registry} in network {network}");
            let object = ObjectRef::new("MeshNetworks", "istio-system", "meshnetworks");
            report.add(code::UNKNOWN_MESH_NETWORKS_SERVICE_REGISTRY, object, format!("networks.{network}.endpoints[{index}]"), text);
        }
    }
}
