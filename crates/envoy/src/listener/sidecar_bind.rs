//! Listeners on sockets of their own, for Sidecars with `captureMode: NONE` and proxies whose traffic is not intercepted.

use super::bind::Bind;
use super::distinct_chains::distinct_chains;
use super::inbound_chain::{Certificates, InboundChainInputs};
use super::inspectors::inbound_inspectors;
use super::options::ProxyOptions;
use base::{Address, PortNumber};
use std::net::IpAddr;
use xds_api::envoy::config::core::v3::TrafficDirection;
use xds_api::envoy::config::listener::v3::Listener;

/// Where an egress listener of a Sidecar binds, from its `bind` (empty is unset). `wildcards` and `loopbacks` are the
/// addresses of the proxy's IP families, the first family first. Without a `bind`, a listener with a socket of its own is for
/// the workload beside it alone. `None` if `bind` is neither an address nor a Unix socket, or no family is given.
pub fn sidecar_egress_bind(bind: &str, port: PortNumber, bind_to_port: bool, wildcards: &[IpAddr], loopbacks: &[IpAddr]) -> Option<Bind> {
    if bind.is_empty() {
        let (first, additional) = if bind_to_port { loopbacks } else { wildcards }.split_first()?;
        return Some(Bind::Ip { address: *first, additional: additional.to_vec(), port });
    }
    match Address::parse(bind) {
        Address::Ip(address) => Some(Bind::ip(address, port)),
        Address::Unix(path) => Some(Bind::Unix { path, port }),
        Address::Dns(_) => None,
    }
}

/// All that an inbound listener with a socket of its own depends on.
#[derive(Clone, Copy, Debug)]
pub struct BoundInboundInputs<'a> {
    /// Its address; its port is the chain's.
    pub bind: &'a Bind,
    /// Its one port.
    pub chain: &'a InboundChainInputs,
    /// Whether the proxy has a certificate.
    pub certificates: &'a Certificates,
    /// What is common to the proxy.
    pub options: &'a ProxyOptions,
}

/// An ingress listener of a Sidecar with a socket of its own: the chains that it would have in `virtualInbound`.
pub fn bound_inbound_listener(inputs: &BoundInboundInputs<'_>) -> Listener {
    let chains = distinct_chains(inputs.chain.chains(inputs.certificates, inputs.options));
    Listener {
        listener_filters: inbound_inspectors(&chains),
        filter_chains: chains,
        listener_filters_timeout: Some(inputs.options.protocol_detection_timeout.into()),
        continue_on_listener_filters_timeout: true,
        traffic_direction: TrafficDirection::Inbound.into(),
        ..inputs.options.socket_listener(inputs.bind)
    }
}
