//! The listeners of a sidecar's outgoing connections: Istio's `buildListenerFromEntry`.
//!
//! Four kinds in one shape: HTTP shared by all services of a port (`0.0.0.0_80`), TCP of one address (`10.0.0.1_443`),
//! sniffed (HTTP beside TCP), and TLS told apart by server name.

use super::bind::Bind;
use super::distinct_chains::distinct_chains;
use super::options::{ProxyOptions, bounded_chain};
use super::virtual_outbound::OutboundPolicy;
use super::{chain_match, names};
use crate::filter::listener::{DisabledPorts, http_inspector::http_inspector, tls_inspector::tls_inspector};
use crate::filter::network::http_connection_manager::{Direction, HttpConnectionManagerInputs, Routes, http_connection_manager};
use crate::filter::network::tcp_proxy::{TcpDestinations, TcpProxyInputs, tcp_filters};
use base::{Cidr, Protocol};
use xds_api::envoy::config::core::v3::{Metadata, TrafficDirection};
use xds_api::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter};

/// What one filter chain does.
#[derive(Clone, PartialEq, Debug)]
pub enum OutboundAction {
    /// Routes requests.
    Http {
        /// The route configuration, over RDS.
        route: String,
        /// The port is declared as gRPC-Web.
        grpc_web: bool,
        /// An explicit HTTP proxy (`MeshConfig.proxyHttpPort`, or a Sidecar's port of protocol HTTP_PROXY).
        http_proxy: bool,
    },
    /// Forwards bytes.
    Tcp {
        /// Only the addresses called that are in one of these; none is all.
        subnets: Vec<Cidr>,
        /// Where to.
        destinations: TcpDestinations,
        /// The declared protocol, of which MongoDB has a filter of its own.
        protocol: Protocol,
    },
    /// Forwards TLS unopened.
    Tls {
        /// Server names, possibly with a leading `*.`; none, or `*` among them, is all.
        server_names: Vec<String>,
        /// As for TCP.
        subnets: Vec<Cidr>,
        /// Where to.
        destinations: TcpDestinations,
    },
}

/// One filter chain.
#[derive(Clone, PartialEq, Debug)]
pub struct OutboundChain {
    /// What it does.
    pub action: OutboundAction,
    /// The object behind it, for tools (`filter_metadata.istio.config`).
    pub metadata: Option<Metadata>,
}

/// What becomes of connections that no chain takes. Envoy would close them, although they may go where no service is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutboundFallback<'a> {
    /// Closed: for listeners on a socket of their own, whose connections have no other destination.
    Close,
    /// As the mesh treats what it does not know.
    Policy(&'a OutboundPolicy),
}

/// All that one outbound listener depends on.
#[derive(Clone, Copy, Debug)]
pub struct OutboundListenerInputs<'a> {
    /// Its address, which names it.
    pub bind: &'a Bind,
    /// A socket of its own (Sidecar `captureMode: NONE`, interception NONE, the HTTP proxy); otherwise connections arrive
    /// through `virtualOutbound`.
    pub bind_to_port: bool,
    /// Its chains, the first of equal ones counts.
    pub chains: &'a [OutboundChain],
    /// What becomes of the rest.
    pub fallback: OutboundFallback<'a>,
    /// What is common to the proxy.
    pub options: &'a ProxyOptions,
}

/// An outbound listener.
pub fn outbound_listener(inputs: &OutboundListenerInputs<'_>) -> Listener {
    // A lone HTTP chain on its own socket has nothing to be told apart from.
    let sniff = !inputs.bind_to_port || inputs.chains.len() > 1;
    let chains = inputs.chains.iter().map(|chain| filter_chain(inputs, chain, sniff)).collect();
    let mut chains = distinct_chains(chains);
    let default_filter_chain = default_chain(inputs, &mut chains);
    let draft = match inputs.bind_to_port {
        true => inputs.options.socket_listener(inputs.bind),
        false => inputs.options.redirected_listener(inputs.bind),
    };
    Listener {
        listener_filters: inspectors(&chains),
        filter_chains: chains,
        default_filter_chain,
        listener_filters_timeout: Some(inputs.options.protocol_detection_timeout.into()),
        continue_on_listener_filters_timeout: true,
        traffic_direction: TrafficDirection::Outbound.into(),
        ..draft
    }
}

fn filter_chain(inputs: &OutboundListenerInputs<'_>, chain: &OutboundChain, sniff: bool) -> FilterChain {
    let options = inputs.options;
    let tcp = |protocol, destinations| tcp_filters(protocol, &TcpProxyInputs { destinations, options: &options.tcp });
    let (filter_chain_match, filters): (Option<FilterChainMatch>, Vec<Filter>) = match &chain.action {
        OutboundAction::Http { route, grpc_web, http_proxy } => {
            let manager = http_connection_manager(&HttpConnectionManagerInputs {
                stat_prefix: &format!("outbound_{}", inputs.bind.listener_name()),
                routes: Routes::Rds(route),
                direction: Direction::Outbound,
                grpc_web: *grpc_web,
                http_proxy: *http_proxy,
                options: &options.http,
            });
            (sniff.then(|| chain_match::plain_http(&options.http)), vec![manager])
        }
        OutboundAction::Tcp { subnets, destinations, protocol } => (chain_match::destination(&[], subnets), tcp(*protocol, destinations)),
        OutboundAction::Tls { server_names, subnets, destinations } => {
            (chain_match::destination(server_names, subnets), tcp(Protocol::Tls, destinations))
        }
    };
    bounded_chain(FilterChain { filter_chain_match, filters, metadata: chain.metadata.clone(), ..FilterChain::default() })
}

/// A chain without a match takes what the others leave, and only as the default chain does it do so surely: Envoy does not
/// come back from a chain that matches the address but not the protocol. Where no chain takes the rest, the policy does.
fn default_chain(inputs: &OutboundListenerInputs<'_>, chains: &mut Vec<FilterChain>) -> Option<FilterChain> {
    match (chains.iter().position(|chain| chain.filter_chain_match.is_none()), inputs.fallback) {
        (Some(_), _) if chains.len() == 1 => None,
        (Some(all), _) => Some(chains.remove(all)),
        (None, OutboundFallback::Close) => None,
        (None, OutboundFallback::Policy(policy)) => Some(FilterChain {
            name: names::PASSTHROUGH_CHAIN.to_owned(),
            filter_chain_match: Some(FilterChainMatch::default()),
            filters: policy.filters(&inputs.options.tcp),
            ..FilterChain::default()
        }),
    }
}

/// Only what the chains look at: a client whose server speaks first would wait for ever.
fn inspectors(chains: &[FilterChain]) -> Vec<ListenerFilter> {
    let matches = || chains.iter().filter_map(|chain| chain.filter_chain_match.as_ref());
    let always = DisabledPorts::Only(Vec::new());
    let mut inspectors = Vec::new();
    if matches().any(|condition| !condition.server_names.is_empty()) {
        inspectors.push(tls_inspector(&always));
    }
    if matches().any(|condition| !condition.application_protocols.is_empty()) {
        inspectors.push(http_inspector(&always));
    }
    inspectors
}
