//! VirtualServices of sidecars that have a host in common (`IST0109`).

use crate::{
    Mesh, code, host,
    mesh::rows,
    report::{Report, full_name},
};
use base::ObjectRef;
use model::MESH_GATEWAY;
use std::collections::BTreeMap;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let mut owners: BTreeMap<(String, String), Vec<ObjectRef>> = BTreeMap::new();
    for service in rows(&mesh.store.virtual_services) {
        let own = &service.metadata.namespace;
        if !service.spec.gateways.is_empty() && !service.spec.gateways.iter().any(|gateway| gateway == MESH_GATEWAY) {
            continue;
        }
        for scope in host::scopes(&service.spec.export_to, own) {
            for name in &service.spec.hosts {
                owners.entry((scope.clone(), host::in_full(own, name))).or_default().push(service.object_ref());
            }
        }
    }
    for ((scope, name), services) in owners.iter().filter(|(_, services)| services.len() > 1) {
        let names: Vec<String> = services.iter().map(full_name).collect();
        let text = format!(
            "The VirtualServices {} associated with mesh gateway define the same host {scope}/{name} which can lead to undefined \
             behavior. This can be fixed by merging the conflicting VirtualServices into a single resource.",
            names.join(",")
        );
        for service in services {
            report.add(code::CONFLICTING_MESH_GATEWAY_VIRTUAL_SERVICE_HOSTS, service.clone(), "metadata.name", text.clone());
        }
    }
}
