//! Which filter chain takes a connection (`FilterChainManagerImpl::findFilterChain`).
//!
//! The criteria are looked at one after the other. At each, only the chains with the best value go on, and Envoy never goes
//! back: if a later criterion rules all of them out, the default filter chain is taken.

use crate::{call::Call, listener::Inspected, outcome::Failure};
use ipnet::IpNet;
use std::net::IpAddr;
use xds_api::envoy::config::{
    core::v3::CidrRange,
    listener::v3::{FilterChain, FilterChainMatch, Listener, filter_chain_match::ConnectionSourceType},
};

/// How well a chain fits at one criterion: greater is better, `None` not at all. A chain that does not name the criterion
/// has the least rank that fits.
type Rank = Option<usize>;
type Criterion = fn(&FilterChainMatch, &Call, &Inspected<'_>) -> Rank;

/// In Envoy's order.
const CRITERIA: [Criterion; 9] = [
    destination_port,
    destination_address,
    server_name,
    transport_protocol,
    application_protocol,
    direct_source_address,
    source_type,
    source_address,
    source_port,
];

/// The chain for the call.
pub fn choose<'a>(listener: &'a Listener, call: &Call, inspected: &Inspected<'_>) -> Result<&'a FilterChain, Failure> {
    let anything = FilterChainMatch::default();
    let mut chains: Vec<&FilterChain> = listener.filter_chains.iter().collect();
    for criterion in CRITERIA {
        let rank = |chain: &FilterChain| criterion(chain.filter_chain_match.as_ref().unwrap_or(&anything), call, inspected);
        let best = chains.iter().filter_map(|chain| rank(chain)).max();
        chains.retain(|chain| best.is_some() && rank(chain) == best);
    }
    match (chains.as_slice(), &listener.default_filter_chain) {
        ([chain], _) => Ok(chain),
        ([], Some(chain)) => Ok(chain),
        ([], None) => Err(Failure::NoFilterChain),
        _ => Err(Failure::SeveralFilterChains),
    }
}

fn destination_port(wanted: &FilterChainMatch, call: &Call, _: &Inspected<'_>) -> Rank {
    match &wanted.destination_port {
        None => Some(0),
        Some(port) => (port.value == u32::from(call.port)).then_some(1),
    }
}

fn destination_address(wanted: &FilterChainMatch, call: &Call, _: &Inspected<'_>) -> Rank {
    longest_prefix(&wanted.prefix_ranges, call.address)
}

fn direct_source_address(wanted: &FilterChainMatch, call: &Call, _: &Inspected<'_>) -> Rank {
    longest_prefix(&wanted.direct_source_prefix_ranges, call.source)
}

fn source_address(wanted: &FilterChainMatch, call: &Call, _: &Inspected<'_>) -> Rank {
    longest_prefix(&wanted.source_prefix_ranges, call.source)
}

/// No range is as good as a range of length 0.
fn longest_prefix(ranges: &[CidrRange], address: IpAddr) -> Rank {
    if ranges.is_empty() {
        return Some(0);
    }
    let fitting = ranges.iter().filter_map(|range| {
        let length = u8::try_from(range.prefix_len.map_or(0, |length| length.value)).ok()?;
        let net = IpNet::new(range.address_prefix.parse().ok()?, length).ok()?;
        net.contains(&address).then_some(usize::from(length))
    });
    fitting.max()
}

/// The exact name, then the longest `*.suffix`, then chains without names.
fn server_name(wanted: &FilterChainMatch, _: &Call, inspected: &Inspected<'_>) -> Rank {
    if wanted.server_names.is_empty() {
        return Some(0);
    }
    let name = inspected.server_name.to_ascii_lowercase();
    let fitting = wanted.server_names.iter().filter_map(|wanted| match wanted.strip_prefix('*') {
        Some(suffix) => (name.len() > suffix.len() && name.ends_with(suffix)).then_some(suffix.len()),
        None => (*wanted == name).then_some(usize::MAX),
    });
    fitting.max()
}

fn transport_protocol(wanted: &FilterChainMatch, _: &Call, inspected: &Inspected<'_>) -> Rank {
    match wanted.transport_protocol.as_str() {
        "" => Some(0),
        protocol => (protocol == inspected.transport_protocol).then_some(1),
    }
}

/// The client's preference decides between chains that name different protocols.
fn application_protocol(wanted: &FilterChainMatch, _: &Call, inspected: &Inspected<'_>) -> Rank {
    if wanted.application_protocols.is_empty() {
        return Some(0);
    }
    let offered = inspected.application_protocols.iter().rev().enumerate();
    let fitting = offered.filter(|(_, protocol)| wanted.application_protocols.iter().any(|wanted| wanted == *protocol));
    fitting.map(|(preference, _)| preference + 1).max()
}

fn source_type(wanted: &FilterChainMatch, call: &Call, _: &Inspected<'_>) -> Rank {
    let local = call.source.is_loopback() || call.source == call.address;
    match ConnectionSourceType::try_from(wanted.source_type) {
        Ok(ConnectionSourceType::Any) => Some(0),
        Ok(ConnectionSourceType::SameIpOrLoopback) => local.then_some(1),
        Ok(ConnectionSourceType::External) => (!local).then_some(1),
        Err(_) => None,
    }
}

/// The ports of clients are chosen by their systems: a chain that names some is not simulated to fit.
fn source_port(wanted: &FilterChainMatch, _: &Call, _: &Inspected<'_>) -> Rank {
    wanted.source_ports.is_empty().then_some(0)
}
