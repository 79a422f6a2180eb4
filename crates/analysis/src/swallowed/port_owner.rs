//! Services that share an address and port, on which only one can be told from the others.

use super::meet;
use crate::{Mesh, code, report::Report};
use base::{Cidr, PortNumber, Protocol};
use registry::{Provider, Resolution, Service, ServicePort};
use std::{collections::BTreeMap, sync::Arc};

/// An address (none for all) and a port.
type Bind = (Option<Cidr>, PortNumber);

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let Some(snapshot) = mesh.snapshot else { return };
    let mut claims: BTreeMap<Bind, Vec<(&Arc<Service>, &ServicePort)>> = BTreeMap::new();
    for service in snapshot.services_by_age.iter().filter(|service| !matches!(service.resolution, Resolution::Alias(_))) {
        for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            for address in binds(service, port) {
                claims.entry((address, port.number)).or_default().push((service, port));
            }
        }
    }
    for ((address, number), claims) in claims.iter().filter(|(_, claims)| claims.len() > 1) {
        for (index, (loser, own)) in claims.iter().enumerate() {
            let mut before = claims
                .iter()
                .take(index)
                .filter(|(older, _)| older.key.hostname != loser.key.hostname && meet(&older.visibility, &loser.visibility));
            let Some((winner, other)) = before.find(|(_, other)| collide(other.protocol, own.protocol)) else { continue };
            let place = address.as_ref().map_or("all addresses".to_owned(), |address| format!("the address {address}"));
            let text = format!(
                "connections to port {number} of {place} go to {} ({}), which is older: {} ({}) cannot be told from it there; give it an \
                 address of its own, or another port",
                winner.origin,
                other.protocol.as_str(),
                loser.origin,
                own.protocol.as_str()
            );
            report.add(code::PORT_CONFLICT, loser.origin.clone(), "spec.ports", text);
        }
    }
}

/// Where the port is listened for: HTTP at all addresses, anything else at the service's own, if it has one.
pub(crate) fn binds(service: &Service, port: &ServicePort) -> Vec<Option<Cidr>> {
    if port.protocol.is_http() {
        return vec![None];
    }
    let own: Vec<_> = service
        .addresses
        .iter()
        .flat_map(|(_, own)| own)
        .filter(|range| !range.0.addr().is_unspecified())
        .map(|range| Some(*range))
        .collect();
    let headless = service.headless && service.provider == Provider::Kubernetes;
    // Automatic addresses are for proxies that answer DNS themselves; all others have none.
    if own.is_empty() && !headless { vec![None] } else { own }
}

/// Whether two protocols cannot be told apart on one address: bytes of unknown meaning from one another, and protocols in
/// which the server speaks first from those that are recognised by the client's first bytes. TLS is told by its names.
fn collide(one: Protocol, other: Protocol) -> bool {
    let opaque = |protocol| matches!(protocol, Protocol::Tcp | Protocol::Mongo | Protocol::Redis | Protocol::MySql);
    let server_first = |protocol| matches!(protocol, Protocol::Mongo | Protocol::MySql);
    opaque(one) && opaque(other) || (one.is_http() != other.is_http() && (server_first(one) || server_first(other)))
}
