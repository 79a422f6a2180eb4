//! Which inspectors an inbound listener needs, and on which ports they must stay off: Istio's `populateListenerFilters`.

use crate::filter::listener::{DisabledPorts, http_inspector::http_inspector, tls_inspector::tls_inspector};
use base::PortNumber;
use std::collections::BTreeMap;
use xds_api::envoy::config::listener::v3::{FilterChain, ListenerFilter};

/// What the chains of one destination port look at.
#[derive(Clone, Copy, Default)]
struct Needed {
    tls: bool,
    http: bool,
}

/// The inspectors for these chains. Port 0 stands for all ports that no chain names.
pub(super) fn inbound_inspectors(chains: &[FilterChain]) -> Vec<ListenerFilter> {
    let ports = needed_by_port(chains);
    let mut inspectors = Vec::new();
    if ports.values().any(|needed| needed.tls) {
        inspectors.push(tls_inspector(&tls_disabled(&ports)));
    }
    if ports.values().any(|needed| needed.http) {
        let off = ports.iter().filter(|(_, needed)| !needed.http).map(|(port, _)| *port).collect();
        inspectors.push(http_inspector(&DisabledPorts::Only(off)));
    }
    inspectors
}

fn needed_by_port(chains: &[FilterChain]) -> BTreeMap<PortNumber, Needed> {
    let mut ports: BTreeMap<PortNumber, Needed> = BTreeMap::new();
    for chain in chains {
        let condition = chain.filter_chain_match.clone().unwrap_or_default();
        let port = condition.destination_port.and_then(|port| PortNumber::try_from(port.value).ok()).unwrap_or(0);
        let needed = ports.entry(port).or_default();
        needed.tls |= condition.transport_protocol == super::chain_match::TLS || !condition.server_names.is_empty();
        needed.http |= condition.application_protocols.iter().any(|protocol| protocol == "http/1.1" || protocol == "h2c");
    }
    ports
}

/// The ports that differ from the default, which is what unnamed ports need.
fn tls_disabled(ports: &BTreeMap<PortNumber, Needed>) -> DisabledPorts {
    let default = ports.get(&0).is_some_and(|needed| needed.tls);
    let differing = ports.iter().filter(|(port, needed)| **port != 0 && needed.tls != default).map(|(port, _)| *port).collect();
    if default { DisabledPorts::Only(differing) } else { DisabledPorts::AllBut(differing) }
}
