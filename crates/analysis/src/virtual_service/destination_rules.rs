//! Subsets that no DestinationRule defines (`IST0101`).

use super::destinations;
use crate::{Mesh, host::service_name, mesh::rows, report::Report};
use std::collections::BTreeSet;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let mut known = BTreeSet::new();
    for rule in rows(&mesh.store.destination_rules) {
        let host = service_name(&rule.metadata.namespace, &rule.spec.host);
        known.extend(rule.spec.subsets.iter().map(|subset| (host.clone(), subset.name.as_str())));
    }
    for service in rows(&mesh.store.virtual_services) {
        for placed in destinations(&service.spec).into_iter().filter(|placed| !placed.destination.subset.is_empty()) {
            let destination = placed.destination;
            if !known.contains(&(service_name(&service.metadata.namespace, &destination.host), destination.subset.as_str())) {
                let what = if placed.mirror { "mirror+subset in destinationrule" } else { "host+subset in destinationrule" };
                report.not_found(service.object_ref(), placed.field, what, &format!("{}+{}", destination.host, destination.subset));
            }
        }
    }
}
