//! Network filters, one file each; the last of a chain is `tcp_proxy` or `http_connection_manager`.

pub mod http_connection_manager;
pub mod mongo_proxy;
pub mod sni_dynamic_forward_proxy;
pub mod tcp_proxy;
pub mod tracing;
