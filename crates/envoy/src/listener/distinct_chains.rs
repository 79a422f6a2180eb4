//! Filter chains that Envoy accepts together: it refuses a whole listener in which two chains take the same connections, or
//! whose server names have a wildcard elsewhere than in front.

use base::Cidr;
use std::collections::BTreeSet;
use xds_api::envoy::config::core::v3::CidrRange;
use xds_api::envoy::config::listener::v3::{FilterChain, FilterChainMatch};

/// One value of each condition; empty, 0 or `None` is every value.
type Connections = (u32, Option<Cidr>, String, String, String);

/// The chains without what an earlier one already takes: without server names, or wholly.
pub(super) fn distinct_chains(chains: Vec<FilterChain>) -> Vec<FilterChain> {
    let mut taken = BTreeSet::new();
    chains.into_iter().filter_map(|chain| untaken(chain, &mut taken)).collect()
}

fn untaken(mut chain: FilterChain, taken: &mut BTreeSet<Connections>) -> Option<FilterChain> {
    let mut condition = chain.filter_chain_match.take();
    if let Some(condition) = condition.as_mut().filter(|condition| !condition.server_names.is_empty()) {
        let mut names = BTreeSet::new();
        let candidate = condition.clone();
        condition.server_names.retain(|name| {
            let alone = FilterChainMatch { server_names: vec![name.clone()], ..candidate.clone() };
            is_server_name(name) && names.insert(name.clone()) && connections(&alone).is_disjoint(taken)
        });
        if condition.server_names.is_empty() {
            return None;
        }
    }
    let connections = connections(&condition.clone().unwrap_or_default());
    if !connections.is_disjoint(taken) {
        return None;
    }
    taken.extend(connections);
    chain.filter_chain_match = condition;
    Some(chain)
}

/// A name, or a wildcard for its first labels.
fn is_server_name(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    !rest.is_empty() && !rest.contains('*')
}

/// All combinations of the values of a condition.
fn connections(condition: &FilterChainMatch) -> BTreeSet<Connections> {
    let port = condition.destination_port.map_or(0, |port| port.value);
    let networks: Vec<_> = condition.prefix_ranges.iter().map(network).collect();
    let any_network = [None];
    let any_text = [String::new()];
    let networks = if networks.is_empty() { any_network.as_slice() } else { networks.as_slice() };
    let or_any = |values: &[String]| if values.is_empty() { any_text.to_vec() } else { values.to_vec() };
    let mut all = BTreeSet::new();
    for network in networks {
        for name in or_any(&condition.server_names) {
            for protocol in or_any(&condition.application_protocols) {
                all.insert((port, *network, name.to_ascii_lowercase(), condition.transport_protocol.clone(), protocol));
            }
        }
    }
    all
}

/// The range as Envoy compares it, without the bits of the host.
fn network(range: &CidrRange) -> Option<Cidr> {
    let length = range.prefix_len.map_or(0, |length| length.value);
    let cidr: Cidr = format!("{}/{length}", range.address_prefix).parse().ok()?;
    Some(Cidr(cidr.0.trunc()))
}
