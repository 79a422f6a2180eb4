//! Listener filters, one file each: what happens to a connection before a filter chain is chosen.

pub mod http_inspector;
pub mod original_dst;
pub mod original_src;
pub mod proxy_protocol;
pub mod tls_inspector;

mod disabled_ports;

pub use disabled_ports::DisabledPorts;
