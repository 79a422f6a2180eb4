//! The names of listeners, filter chains and statistics that users, tools and EnvoyFilter objects rely on.

use base::PortNumber;
use std::net::IpAddr;

/// The listener to which a sidecar's outgoing connections are redirected.
pub const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// The listener to which a sidecar's incoming connections are redirected, and its chains for TCP to ports of no service.
pub const VIRTUAL_INBOUND: &str = "virtualInbound";
/// The port of [`VIRTUAL_OUTBOUND`] (`MeshConfig.proxyListenPort`).
pub const VIRTUAL_OUTBOUND_PORT: PortNumber = 15001;
/// The port of [`VIRTUAL_INBOUND`] (`MeshConfig.proxyInboundListenPort`).
pub const VIRTUAL_INBOUND_PORT: PortNumber = 15006;
/// Refuses connections to the listener's own port, which would go round in circles.
pub const VIRTUAL_OUTBOUND_BLACK_HOLE_CHAIN: &str = "virtualOutbound-blackhole";
/// Takes what no other outbound listener takes.
pub const VIRTUAL_OUTBOUND_CATCH_ALL_CHAIN: &str = "virtualOutbound-catchall-tcp";
/// Takes HTTP that no other outbound listener takes, where it is resolved by name.
pub const VIRTUAL_OUTBOUND_CATCH_ALL_HTTP_CHAIN: &str = "virtualOutbound-catchall-tcp-http";
/// Refuses connections to the listener's own port, which would go round in circles.
pub const VIRTUAL_INBOUND_BLACK_HOLE_CHAIN: &str = "virtualInbound-blackhole";
/// HTTP to ports of no service.
pub const VIRTUAL_INBOUND_CATCH_ALL_HTTP_CHAIN: &str = "virtualInbound-catchall-http";
/// The default chain of outbound listeners.
pub const PASSTHROUGH_CHAIN: &str = "PassthroughFilterChain";

/// `<address>_<port>`; an IPv6 address stands in brackets.
pub fn listener(address: IpAddr, port: PortNumber) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}_{port}"),
        IpAddr::V6(address) => format!("[{address}]_{port}"),
    }
}

/// `unix://<path>_<port>`
pub fn unix_listener(path: &str, port: PortNumber) -> String {
    format!("unix://{path}_{port}")
}
