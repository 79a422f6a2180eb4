//! `virtualOutbound`, to which iptables redirect a sidecar's outgoing connections. It hands them to the listener of the
//! address that was called, and keeps those for which there is none.

use super::bind::Bind;
use super::options::ProxyOptions;
use super::{chain_match, names};
use crate::cluster::{BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER};
use crate::filter::network::tcp_proxy::{TcpDestinations, TcpOptions, TcpProxyInputs, tcp_filters};
use base::Protocol;
use xds_api::envoy::config::core::v3::TrafficDirection;
use xds_api::envoy::config::listener::v3::{Filter, FilterChain, Listener};

/// What becomes of connections to addresses that the mesh does not know (`outboundTrafficPolicy`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutboundPolicy {
    /// They go where the client wanted.
    AllowAny,
    /// They are closed.
    RegistryOnly,
    /// They go to this cluster (Sidecar `outboundTrafficPolicy.egressProxy`).
    EgressProxy(String),
}

impl OutboundPolicy {
    /// The cluster that gets them.
    pub fn cluster(&self) -> &str {
        match self {
            Self::AllowAny => PASSTHROUGH_CLUSTER,
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
    Listener {
        name: names::VIRTUAL_OUTBOUND.to_owned(),
        filter_chains: vec![black_hole, catch_all],
        use_original_dst: Some(true.into()),
        transparent: inputs.transparent.then(|| true.into()),
        traffic_direction: TrafficDirection::Outbound.into(),
        access_log: inputs.options.listener_access_logs.clone(),
        ..inputs.options.socket_listener(inputs.bind)
    }
}
