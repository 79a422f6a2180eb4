//! The listeners of a gateway: one for each address and port, a chain for each server (TLS) or one for all (HTTP).

use super::bind::Bind;
use super::chain_match;
use super::distinct_chains::distinct_chains;
use super::options::{ProxyOptions, bounded_chain};
use crate::filter::listener::{DisabledPorts, proxy_protocol::proxy_protocol, tls_inspector::tls_inspector};
use crate::filter::network::http_connection_manager::{Direction, HttpConnectionManagerInputs, Routes, http_connection_manager};
use crate::filter::network::tcp_proxy::{TcpDestinations, TcpProxyInputs, tcp_filters};
use base::{Cidr, Protocol};
use xds_api::envoy::config::core::v3::{Metadata, TrafficDirection, TransportSocket, UdpSocketConfig};
use xds_api::envoy::config::listener::v3::{Filter, FilterChain, Listener, QuicProtocolOptions, UdpListenerConfig};

/// What one filter chain does.
#[derive(Clone, PartialEq, Debug)]
pub enum GatewayAction {
    /// Routes requests.
    Http {
        /// The route configuration, over RDS.
        route: String,
        /// The server's name, which then names its statistics; empty if it has none.
        server: String,
        /// The port is declared as gRPC-Web.
        grpc_web: bool,
    },
    /// Forwards bytes: of a TCP server, of a TLS server that terminates, or TLS that is passed through.
    Tcp {
        /// Only the addresses called that are in one of these; none is all.
        subnets: Vec<Cidr>,
        /// Where to.
        destinations: TcpDestinations,
        /// The declared protocol, of which MongoDB has a filter of its own.
        protocol: Protocol,
    },
}

/// What carries the bytes of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GatewayTransport {
    /// TCP.
    #[default]
    Tcp,
    /// HTTP/3: chains are HTTP, with a transport socket by [`crate::tls::quic_transport_socket`].
    Quic,
}

/// One filter chain.
#[derive(Clone, PartialEq, Debug)]
pub struct GatewayChain {
    /// The server names of TLS; none, or `*` among them, is all. Empty for plain text.
    pub server_names: Vec<String>,
    /// Only mutual TLS of the mesh (AUTO_PASSTHROUGH): whoever else knows the names must not come in unchecked.
    pub mesh_traffic: bool,
    /// TLS that ends here; `None` for plain text and for TLS that is passed through.
    pub transport_socket: Option<TransportSocket>,
    /// What it does.
    pub action: GatewayAction,
    /// The object behind it, for tools (`filter_metadata.istio.config`).
    pub metadata: Option<Metadata>,
}

/// All that one listener of a gateway depends on.
#[derive(Clone, Copy, Debug)]
pub struct GatewayListenerInputs<'a> {
    /// Its address, which names it. Ports are those of the pod (target ports).
    pub bind: &'a Bind,
    /// Its chains; the first of equal ones counts.
    pub chains: &'a [GatewayChain],
    /// `gatewayTopology.proxyProtocol`: every connection begins with a header of the load balancer.
    pub proxy_protocol: bool,
    /// What carries the bytes.
    pub transport: GatewayTransport,
    /// What is common to the gateway.
    pub options: &'a ProxyOptions,
}

/// A gateway's listener; `None` without chains, as Envoy refuses an empty one.
pub fn gateway_listener(inputs: &GatewayListenerInputs<'_>) -> Option<Listener> {
    if inputs.chains.is_empty() {
        return None;
    }
    if inputs.transport == GatewayTransport::Quic {
        return Some(quic_listener(inputs));
    }
    let mut listener_filters = Vec::new();
    if inputs.proxy_protocol {
        // The header comes before the TLS handshake.
        listener_filters.push(proxy_protocol());
    }
    let inspected = |chain: &GatewayChain| chain.transport_socket.is_some() || !chain.server_names.is_empty();
    if inputs.chains.iter().any(inspected) {
        listener_filters.push(tls_inspector(&DisabledPorts::Only(Vec::new())));
    }
    Some(Listener {
        filter_chains: distinct_chains(inputs.chains.iter().map(|chain| filter_chain(inputs, chain)).collect()),
        listener_filters,
        traffic_direction: TrafficDirection::Outbound.into(),
        access_log: inputs.options.listener_access_logs.clone(),
        ..inputs.options.socket_listener(inputs.bind)
    })
}

/// `udp_<address>_<port>`. QUIC reads the server name by itself, and UDP knows no connections to balance or to buffer.
fn quic_listener(inputs: &GatewayListenerInputs<'_>) -> Listener {
    let quic = QuicProtocolOptions::default();
    Listener {
        name: format!("udp_{}", inputs.bind.listener_name()),
        address: Some(inputs.bind.udp_address()),
        filter_chains: distinct_chains(inputs.chains.iter().map(|chain| filter_chain(inputs, chain)).collect()),
        udp_listener_config: Some(UdpListenerConfig {
            downstream_socket_config: Some(UdpSocketConfig::default()),
            quic_options: Some(quic),
            ..UdpListenerConfig::default()
        }),
        enable_reuse_port: Some(true.into()),
        traffic_direction: TrafficDirection::Outbound.into(),
        access_log: inputs.options.listener_access_logs.clone(),
        ..Listener::default()
    }
}

fn filter_chain(inputs: &GatewayListenerInputs<'_>, chain: &GatewayChain) -> FilterChain {
    let subnets: &[Cidr] = match &chain.action {
        GatewayAction::Http { .. } => &[],
        GatewayAction::Tcp { subnets, .. } => subnets,
    };
    let mut filter_chain_match = chain_match::destination(&chain.server_names, subnets);
    if chain.mesh_traffic {
        filter_chain_match.get_or_insert_default().application_protocols = chain_match::owned(chain_match::ISTIO_PROTOCOLS);
    }
    bounded_chain(FilterChain {
        filter_chain_match,
        transport_socket: chain.transport_socket.clone(),
        filters: filters(inputs, &chain.action),
        metadata: chain.metadata.clone(),
        ..FilterChain::default()
    })
}

fn filters(inputs: &GatewayListenerInputs<'_>, action: &GatewayAction) -> Vec<Filter> {
    match action {
        GatewayAction::Http { route, server, grpc_web } => {
            let of_listener = format!("outbound_{}", inputs.bind.listener_name());
            vec![http_connection_manager(&HttpConnectionManagerInputs {
                stat_prefix: if server.is_empty() { &of_listener } else { server },
                routes: Routes::Rds(route),
                direction: match inputs.transport {
                    GatewayTransport::Tcp => Direction::Gateway,
                    GatewayTransport::Quic => Direction::GatewayQuic,
                },
                grpc_web: *grpc_web,
                http_proxy: false,
                options: &inputs.options.http,
            })]
        }
        GatewayAction::Tcp { destinations, protocol, .. } => {
            tcp_filters(*protocol, &TcpProxyInputs { destinations, options: &inputs.options.tcp })
        }
    }
}
