//! `virtualInbound`, to which iptables redirect a sidecar's incoming connections: one listener with the chains of all ports.

use super::bind::Bind;
use super::distinct_chains::distinct_chains;
use super::inbound_chain::{Certificates, ChainDraft, InboundChainInputs, InboundProtocol, InboundTls, MutualTlsMode};
use super::inspectors::inbound_inspectors;
use super::options::ProxyOptions;
use super::virtual_outbound::to_cluster;
use super::{chain_match, names};
use crate::cluster::{BLACK_HOLE_CLUSTER, INBOUND_PASSTHROUGH_CLUSTER};
use crate::filter::listener::{original_dst::original_dst, original_src::original_src};
use crate::filter::network::tcp_proxy::{TcpDestinations, TcpOptions};
use base::PortNumber;
use std::collections::{BTreeMap, BTreeSet};
use xds_api::envoy::config::core::v3::TrafficDirection;
use xds_api::envoy::config::listener::v3::{FilterChain, Listener};
use xds_api::envoy::config::route::v3::RouteConfiguration;

/// What becomes of connections to ports that no service of the workload has.
#[derive(Clone, PartialEq, Debug)]
pub struct InboundPassthrough {
    /// The mode of the workload.
    pub mode: MutualTlsMode,
    /// Ports for which PeerAuthentication says something else. Those with chains of their own are skipped.
    pub port_modes: BTreeMap<PortNumber, MutualTlsMode>,
    /// The route of requests to [`INBOUND_PASSTHROUGH_CLUSTER`].
    pub route: RouteConfiguration,
}

/// All that `virtualInbound` depends on.
#[derive(Clone, Copy, Debug)]
pub struct VirtualInboundInputs<'a> {
    /// The wildcard addresses and [`names::VIRTUAL_INBOUND_PORT`].
    pub bind: &'a Bind,
    /// One for each port; of two for one port the first counts.
    pub chains: &'a [InboundChainInputs],
    /// All other ports.
    pub passthrough: &'a InboundPassthrough,
    /// Whether the proxy has a certificate.
    pub certificates: &'a Certificates,
    /// Interception by TPROXY.
    pub transparent: bool,
    /// What is common to the proxy.
    pub options: &'a ProxyOptions,
}

/// The listener `virtualInbound`.
pub fn virtual_inbound(inputs: &VirtualInboundInputs<'_>) -> Listener {
    let mut ports: BTreeMap<PortNumber, &InboundChainInputs> = BTreeMap::new();
    for chain in inputs.chains {
        ports.entry(chain.port).or_insert(chain);
    }
    let mut chains = vec![black_hole(inputs)];
    chains.extend(passthrough(inputs, &ports.keys().copied().collect()));
    chains.extend(ports.values().flat_map(|port| port.chains(inputs.certificates, inputs.options)));
    let chains = distinct_chains(chains);

    let mut listener_filters = vec![original_dst()];
    if inputs.transparent {
        listener_filters.push(original_src());
    }
    listener_filters.extend(inbound_inspectors(&chains));
    Listener {
        name: names::VIRTUAL_INBOUND.to_owned(),
        filter_chains: chains,
        listener_filters,
        listener_filters_timeout: Some(inputs.options.protocol_detection_timeout.into()),
        continue_on_listener_filters_timeout: true,
        transparent: inputs.transparent.then(|| true.into()),
        traffic_direction: TrafficDirection::Inbound.into(),
        access_log: inputs.options.listener_access_logs.clone(),
        ..inputs.options.socket_listener(inputs.bind)
    }
}

fn black_hole(inputs: &VirtualInboundInputs<'_>) -> FilterChain {
    // Nobody comes in, so nobody is asked for authorization.
    let options = TcpOptions { filters: Vec::new(), ..inputs.options.tcp.clone() };
    FilterChain {
        name: names::VIRTUAL_INBOUND_BLACK_HOLE_CHAIN.to_owned(),
        filter_chain_match: Some(chain_match::port(inputs.bind.port())),
        filters: to_cluster(BLACK_HOLE_CLUSTER, &options),
        ..FilterChain::default()
    }
}

/// The chains of ports without a service: those of the workload's mode, then those of single ports. Everything is sniffed.
fn passthrough(inputs: &VirtualInboundInputs<'_>, served: &BTreeSet<PortNumber>) -> Vec<FilterChain> {
    let passthrough = inputs.passthrough;
    let single = passthrough.port_modes.iter().filter(|(port, _)| !served.contains(port)).map(|(port, mode)| (Some(*port), *mode));
    let protocol = InboundProtocol::Sniffed { route: passthrough.route.clone() };
    let chains = |(port, mode)| {
        let draft = ChainDraft {
            http_name: names::VIRTUAL_INBOUND_CATCH_ALL_HTTP_CHAIN,
            tcp_name: names::VIRTUAL_INBOUND,
            http_stat_prefix: INBOUND_PASSTHROUGH_CLUSTER,
            port,
            protocol: &protocol,
            tls: &InboundTls::Mutual(mode),
            destinations: &TcpDestinations::cluster(INBOUND_PASSTHROUGH_CLUSTER),
        };
        draft.chains(inputs.certificates, inputs.options)
    };
    [(None, passthrough.mode)].into_iter().chain(single).flat_map(chains).collect()
}
