//! The filter chains of one inbound port, for every protocol and mode of mutual TLS: Istio's
//! `getFilterChainMatchOptions` and what it does with each.

use super::options::ProxyOptions;
use super::virtual_outbound::to_cluster;
use super::{chain_match, names};
use crate::cluster::BLACK_HOLE_CLUSTER;
use crate::filter::network::http_connection_manager::{Direction, HttpConnectionManagerInputs, Routes, http_connection_manager};
use crate::filter::network::tcp_proxy::{TcpDestinations, TcpProxyInputs, tcp_filters};
use base::{PortNumber, Protocol};
use std::net::IpAddr;
use xds_api::envoy::config::core::v3::{Metadata, TransportSocket};
use xds_api::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch};
use xds_api::envoy::config::route::v3::RouteConfiguration;

/// PeerAuthentication's mode for a port, after inheritance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MutualTlsMode {
    /// Plain text only.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// Whether the proxy has a certificate to serve mutual TLS with.
#[derive(Clone, PartialEq, Debug)]
pub enum Certificates {
    /// None: it terminates no TLS at all. A port with [`MutualTlsMode::Strict`] then refuses every connection.
    None,
    /// From its agent. The sockets differ in the protocols that they offer.
    Sds {
        /// For chains that route requests (ALPN `h2`, `http/1.1`).
        http: TransportSocket,
        /// For chains that forward bytes (`istio-peer-exchange` first).
        tcp: TransportSocket,
    },
}

/// What a port speaks.
#[derive(Clone, PartialEq, Debug)]
pub enum InboundProtocol {
    /// HTTP in any version.
    Http {
        /// The routes, part of the listener.
        route: RouteConfiguration,
        /// Declared as gRPC-Web.
        grpc_web: bool,
    },
    /// Opaque bytes.
    Tcp {
        /// The declared protocol, of which MongoDB has a filter of its own.
        protocol: Protocol,
    },
    /// Not declared: HTTP if it looks like it.
    Sniffed {
        /// The routes for HTTP.
        route: RouteConfiguration,
    },
}

/// How TLS is terminated on a port.
#[derive(Clone, PartialEq, Debug)]
pub enum InboundTls {
    /// Mutual TLS with the proxy's own certificate.
    Mutual(MutualTlsMode),
    /// As a Sidecar's ingress listener says; only where PeerAuthentication is DISABLE.
    Custom(TransportSocket),
}

/// All that the chains of one port depend on.
#[derive(Clone, PartialEq, Debug)]
pub struct InboundChainInputs {
    /// The address in the chains' names: the wildcard, or a Sidecar's bind.
    pub address: IpAddr,
    /// The port of the workload (target port).
    pub port: PortNumber,
    /// What it speaks.
    pub protocol: InboundProtocol,
    /// How TLS is terminated.
    pub tls: InboundTls,
    /// Where bytes go: the port's cluster, with the idle timeout and hashing of its DestinationRule.
    pub destinations: TcpDestinations,
    /// The object behind it, for tools (`filter_metadata.istio.config`).
    pub metadata: Option<Metadata>,
}

impl InboundChainInputs {
    /// `<address>_<port>`
    fn name(&self) -> String {
        names::listener(self.address, self.port)
    }

    /// The chains of the port, in Istio's order.
    pub(super) fn chains(&self, certificates: &Certificates, options: &ProxyOptions) -> Vec<FilterChain> {
        let name = self.name();
        let draft = ChainDraft {
            http_name: &name,
            tcp_name: &name,
            http_stat_prefix: &format!("inbound_{name}"),
            port: Some(self.port),
            protocol: &self.protocol,
            tls: &self.tls,
            destinations: &self.destinations,
        };
        let chains = draft.chains(certificates, options);
        chains.into_iter().map(|chain| FilterChain { metadata: self.metadata.clone(), ..chain }).collect()
    }
}

/// What one chain of a port matches and does.
struct ChainKind {
    transport: &'static str,
    protocols: &'static [&'static str],
    http: bool,
    tls: bool,
}

/// The table of protocols and modes. `plain_http` is what the HTTP inspector reports.
fn chain_kinds(protocol: &InboundProtocol, mode: MutualTlsMode, plain_http: &'static [&'static str]) -> Vec<ChainKind> {
    let kind = |transport, protocols, http, tls| ChainKind { transport, protocols, http, tls };
    let (tls, raw) = (chain_match::TLS, chain_match::RAW_BUFFER);
    match (mode, protocol) {
        (MutualTlsMode::Disable, InboundProtocol::Http { .. }) => vec![kind(raw, &[], true, false)],
        (MutualTlsMode::Disable, InboundProtocol::Tcp { .. }) => vec![kind(raw, &[], false, false)],
        (MutualTlsMode::Disable, InboundProtocol::Sniffed { .. }) => {
            vec![kind(raw, plain_http, true, false), kind(raw, &[], false, false)]
        }
        (MutualTlsMode::Permissive, InboundProtocol::Http { .. }) => {
            vec![kind(tls, chain_match::ISTIO_PROTOCOLS, true, true), kind(raw, &[], true, false)]
        }
        (MutualTlsMode::Permissive, InboundProtocol::Tcp { .. }) => vec![
            kind(tls, chain_match::ISTIO_PROTOCOLS, false, true),
            // TLS of the application itself, which is forwarded unopened.
            kind(tls, &[], false, false),
            kind(raw, &[], false, false),
        ],
        (MutualTlsMode::Permissive, InboundProtocol::Sniffed { .. }) => vec![
            kind(tls, chain_match::ISTIO_HTTP_PROTOCOLS, true, true),
            kind(raw, plain_http, true, false),
            kind(tls, chain_match::ISTIO_TCP_PROTOCOLS, false, true),
            kind(raw, &[], false, false),
            kind(tls, &[], false, false),
        ],
        (MutualTlsMode::Strict, InboundProtocol::Http { .. }) => vec![kind(tls, &[], true, true)],
        (MutualTlsMode::Strict, InboundProtocol::Tcp { .. }) => vec![kind(tls, &[], false, true)],
        (MutualTlsMode::Strict, InboundProtocol::Sniffed { .. }) => {
            vec![kind(tls, chain_match::ISTIO_HTTP_PROTOCOLS, true, true), kind(tls, &[], false, true)]
        }
    }
}

/// The chains of one port, or of all ports that no service has.
pub(super) struct ChainDraft<'a> {
    /// The name of chains that route requests.
    pub http_name: &'a str,
    /// The name of chains that forward bytes.
    pub tcp_name: &'a str,
    /// Of the statistics of requests.
    pub http_stat_prefix: &'a str,
    /// `None` is every port that no other chain names.
    pub port: Option<PortNumber>,
    /// What it speaks.
    pub protocol: &'a InboundProtocol,
    /// How TLS is terminated.
    pub tls: &'a InboundTls,
    /// Where bytes go.
    pub destinations: &'a TcpDestinations,
}

impl ChainDraft<'_> {
    pub(super) fn chains(&self, certificates: &Certificates, options: &ProxyOptions) -> Vec<FilterChain> {
        let plain_http = chain_match::plain_http_protocols(&options.http);
        match (self.tls, certificates) {
            (InboundTls::Custom(socket), _) => {
                let http = !matches!(self.protocol, InboundProtocol::Tcp { .. });
                let kind = ChainKind { transport: chain_match::TLS, protocols: &[], http, tls: true };
                vec![self.chain(&kind, Some(socket.clone()), options)]
            }
            (InboundTls::Mutual(MutualTlsMode::Strict), Certificates::None) => vec![self.refusing_chain(options)],
            (InboundTls::Mutual(_), Certificates::None) => {
                chain_kinds(self.protocol, MutualTlsMode::Disable, plain_http).iter().map(|kind| self.chain(kind, None, options)).collect()
            }
            (InboundTls::Mutual(mode), Certificates::Sds { http, tcp }) => chain_kinds(self.protocol, *mode, plain_http)
                .iter()
                .map(|kind| self.chain(kind, kind.tls.then(|| if kind.http { http.clone() } else { tcp.clone() }), options))
                .collect(),
        }
    }

    fn chain(&self, kind: &ChainKind, transport_socket: Option<TransportSocket>, options: &ProxyOptions) -> FilterChain {
        FilterChain {
            name: if kind.http { self.http_name } else { self.tcp_name }.to_owned(),
            filter_chain_match: Some(FilterChainMatch {
                destination_port: self.port.map(|port| u32::from(port).into()),
                transport_protocol: kind.transport.to_owned(),
                application_protocols: chain_match::owned(kind.protocols),
                ..FilterChainMatch::default()
            }),
            transport_socket,
            filters: self.filters(kind.http, options),
            ..FilterChain::default()
        }
    }

    fn filters(&self, http: bool, options: &ProxyOptions) -> Vec<Filter> {
        let (route, grpc_web) = match self.protocol {
            InboundProtocol::Http { route, grpc_web } => (route, *grpc_web),
            InboundProtocol::Sniffed { route } if http => (route, false),
            InboundProtocol::Sniffed { .. } => return self.tcp_filters(Protocol::Tcp, options),
            InboundProtocol::Tcp { protocol } => return self.tcp_filters(*protocol, options),
        };
        vec![http_connection_manager(&HttpConnectionManagerInputs {
            stat_prefix: self.http_stat_prefix,
            routes: Routes::Inline(route),
            direction: Direction::Inbound,
            grpc_web,
            http_proxy: false,
            options: &options.http,
        })]
    }

    fn tcp_filters(&self, protocol: Protocol, options: &ProxyOptions) -> Vec<Filter> {
        tcp_filters(protocol, &TcpProxyInputs { destinations: self.destinations, options: &options.tcp })
    }

    /// A proxy without a certificate cannot serve mutual TLS, and must not serve anything else where it is demanded: every
    /// connection is accepted and closed at once, which also shows in the statistics of the cluster.
    fn refusing_chain(&self, options: &ProxyOptions) -> FilterChain {
        FilterChain {
            name: self.tcp_name.to_owned(),
            filter_chain_match: self.port.map(chain_match::port),
            filters: to_cluster(BLACK_HOLE_CLUSTER, &options.tcp),
            ..FilterChain::default()
        }
    }
}
