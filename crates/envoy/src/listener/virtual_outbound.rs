//! `virtualOutbound`, to which iptables redirect a sidecar's outgoing connections. It hands them to the listener of the
//! address that was called, and keeps those for which there is none.

use super::bind::Bind;
use super::options::ProxyOptions;
use super::{chain_match, names};
use crate::cluster::{BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER};
use crate::filter::listener::{DisabledPorts, http_inspector::http_inspector};
use crate::filter::network::http_connection_manager::{Direction, HttpConnectionManagerInputs, Routes, http_connection_manager};
use crate::filter::network::tcp_proxy::{TcpDestinations, TcpOptions, TcpProxyInputs, tcp_filters};
use crate::route;
use base::Protocol;
use xds_api::envoy::config::core::v3::TrafficDirection;
use xds_api::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, Listener};

/// What becomes of connections to addresses that the mesh does not know (`outboundTrafficPolicy`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutboundPolicy {
    /// They go where the client wanted.
    AllowAny,
    /// HTTP goes where DNS says, and the rest where the client wanted (`ALLOW_ANY_DYNAMIC_DNS`).
    AllowAnyDynamicDns,
    /// They are closed.
    RegistryOnly,
    /// They go to this cluster (Sidecar `outboundTrafficPolicy.egressProxy`).
    EgressProxy(String),
}

impl OutboundPolicy {
    /// The cluster that gets those whose name is not looked at.
    pub fn cluster(&self) -> &str {
        match self {
            Self::AllowAny | Self::AllowAnyDynamicDns => PASSTHROUGH_CLUSTER,
            Self::RegistryOnly => BLACK_HOLE_CLUSTER,
            Self::EgressProxy(cluster) => cluster,
        }
    }

    pub(super) fn filters(&self, options: &TcpOptions) -> Vec<Filter> {
        to_cluster(self.cluster(), options)
    }
}

/// The filters that send everything to one cluster.
pub(super) fn to_cluster(cluster: &str, options: &TcpOptions) -> Vec<Filter> {
    tcp_filters(Protocol::Tcp, &TcpProxyInputs { destinations: &TcpDestinations::cluster(cluster), options })
}

/// All that `virtualOutbound` depends on.
#[derive(Clone, Copy, Debug)]
pub struct VirtualOutboundInputs<'a> {
    /// The wildcard addresses and [`names::VIRTUAL_OUTBOUND_PORT`].
    pub bind: &'a Bind,
    /// What becomes of the unknown.
    pub policy: &'a OutboundPolicy,
    /// Interception by TPROXY.
    pub transparent: bool,
    /// What is common to the proxy.
    pub options: &'a ProxyOptions,
}

/// The listener `virtualOutbound`.
pub fn virtual_outbound(inputs: &VirtualOutboundInputs<'_>) -> Listener {
    let black_hole = FilterChain {
        name: names::VIRTUAL_OUTBOUND_BLACK_HOLE_CHAIN.to_owned(),
        filter_chain_match: Some(chain_match::port(inputs.bind.port())),
        filters: to_cluster(BLACK_HOLE_CLUSTER, &inputs.options.tcp),
        ..FilterChain::default()
    };
    let catch_all = FilterChain {
        name: names::VIRTUAL_OUTBOUND_CATCH_ALL_CHAIN.to_owned(),
        filters: inputs.policy.filters(&inputs.options.tcp),
        ..FilterChain::default()
    };
    let by_name = (*inputs.policy == OutboundPolicy::AllowAnyDynamicDns).then(|| by_name(inputs));
    let listener_filters = by_name.iter().map(|_| http_inspector(&DisabledPorts::Only(Vec::new()))).collect();
    Listener {
        name: names::VIRTUAL_OUTBOUND.to_owned(),
        filter_chains: [Some(black_hole), by_name, Some(catch_all)].into_iter().flatten().collect(),
        listener_filters,
        use_original_dst: Some(true.into()),
        transparent: inputs.transparent.then(|| true.into()),
        traffic_direction: TrafficDirection::Outbound.into(),
        access_log: inputs.options.listener_access_logs.clone(),
        ..inputs.options.socket_listener(inputs.bind)
    }
}

/// HTTP for unknown hosts, which are looked up.
fn by_name(inputs: &VirtualOutboundInputs<'_>) -> FilterChain {
    let name = "allow_any_dynamic_dns";
    let routes = route::inline_route_configuration(name, route::allow_any_dynamic_dns());
    let manager = http_connection_manager(&HttpConnectionManagerInputs {
        stat_prefix: &format!("outbound_{}_{name}", names::VIRTUAL_OUTBOUND),
        routes: Routes::Inline(&routes),
        direction: Direction::Outbound,
        grpc_web: false,
        http_proxy: false,
        options: &inputs.options.http,
    });
    let application_protocols = chain_match::owned(chain_match::plain_http_protocols(&inputs.options.http));
    FilterChain {
        name: names::VIRTUAL_OUTBOUND_CATCH_ALL_HTTP_CHAIN.to_owned(),
        filter_chain_match: Some(FilterChainMatch { application_protocols, ..FilterChainMatch::default() }),
        filters: vec![manager],
        ..FilterChain::default()
    }
}
