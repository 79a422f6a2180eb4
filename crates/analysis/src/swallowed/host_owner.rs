//! A VirtualService that loses a host to another one, so that sidecars never see its rules for it.

use super::{meet, rank};
use crate::{Mesh, code, report::Report};
use base::Hostname;
use model::{MESH_GATEWAY, VirtualService};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let Some(snapshot) = mesh.snapshot else { return };
    let mut claims: BTreeMap<&Hostname, Vec<&Arc<VirtualService>>> = BTreeMap::new();
    for service in snapshot.virtual_services.all.iter().filter(|service| service.gateways.contains(MESH_GATEWAY)) {
        for host in &service.hosts {
            claims.entry(host).or_default().push(service);
        }
    }
    for (host, mut services) in claims {
        // The oldest come first in the snapshot, and the sort keeps that order among equals.
        services.sort_by_key(|service| rank(&service.visibility, &service.namespace));
        for (index, loser) in services.iter().enumerate() {
            let before = services.iter().take(index).filter(|winner| winner.origin != loser.origin);
            let Some(winner) = before.into_iter().find(|winner| meet(&winner.visibility, &loser.visibility)) else { continue };
            let narrower = rank(&winner.visibility, &winner.namespace) < rank(&loser.visibility, &loser.namespace);
            let reason = if narrower { "is exported to fewer namespaces" } else { "is older, or comes first by name" };
            let text = format!(
                "the host {host} belongs to {}, which {reason}: sidecars that see both take none of the rules of {} for it; merge the two, \
                 or export them to different namespaces",
                winner.origin, loser.origin
            );
            report.add(code::HOST_OWNED_BY_ANOTHER, loser.origin.clone(), "spec.hosts", text);
        }
    }
}
