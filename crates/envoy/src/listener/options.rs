//! What all listeners of a proxy and direction have in common.

use super::bind::Bind;
use crate::filter::network::{http_connection_manager::HttpOptions, tcp_proxy::TcpOptions};
use std::time::Duration;
use xds_api::envoy::config::accesslog::v3::AccessLog;
use xds_api::envoy::config::listener::v3::{
    FilterChain, Listener,
    listener::{
        ConnectionBalanceConfig,
        connection_balance_config::{BalanceType, ExactBalance},
    },
};

/// Settings of a proxy, for one direction.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProxyOptions {
    /// Of its HTTP chains.
    pub http: HttpOptions,
    /// Of its TCP chains.
    pub tcp: TcpOptions,
    /// Loggers of connections that matched no chain, for listeners that nobody else logs (the caller sets their filter).
    pub listener_access_logs: Vec<AccessLog>,
    /// `MeshConfig.protocolDetectionTimeout`: how long a client may be silent while its protocol is sniffed; zero is for
    /// ever.
    pub protocol_detection_timeout: Duration,
    /// Node metadata `INBOUND_LISTENER_EXACT_BALANCE`, `OUTBOUND_LISTENER_EXACT_BALANCE`: connections are spread evenly over
    /// the worker threads.
    pub exact_balance: bool,
    /// `connectionSettings.listenerPerConnectionBufferLimitBytes`; for listeners with a socket of their own.
    pub buffer_limit: Option<u32>,
}

/// How long the handshake of a connection may take (Istio's constant).
const TRANSPORT_SOCKET_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A filter chain for outgoing or gateway traffic, which bounds its handshake.
pub(super) fn bounded_chain(chain: FilterChain) -> FilterChain {
    FilterChain { transport_socket_connect_timeout: Some(TRANSPORT_SOCKET_CONNECT_TIMEOUT.into()), ..chain }
}

impl ProxyOptions {
    /// The fields of a listener that has a socket of its own. One connection is accepted at a time, so that one worker does
    /// not take them all.
    pub(super) fn socket_listener(&self, bind: &Bind) -> Listener {
        let exact = ConnectionBalanceConfig { balance_type: Some(BalanceType::ExactBalance(ExactBalance::default())) };
        Listener {
            name: bind.listener_name(),
            address: Some(bind.address()),
            additional_addresses: bind.additional_addresses(),
            connection_balance_config: self.exact_balance.then_some(exact),
            max_connections_to_accept_per_socket_event: Some(1.into()),
            per_connection_buffer_limit_bytes: self.buffer_limit.map(Into::into),
            ..Listener::default()
        }
    }

    /// The fields of a listener whose connections arrive through the virtual one.
    pub(super) fn redirected_listener(&self, bind: &Bind) -> Listener {
        Listener {
            bind_to_port: Some(false.into()),
            max_connections_to_accept_per_socket_event: None,
            per_connection_buffer_limit_bytes: None,
            ..self.socket_listener(bind)
        }
    }
}
