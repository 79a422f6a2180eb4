//! Network filters, one file each; the last of a chain is `tcp_proxy` or `http_connection_manager`.

pub mod connection_settings;
pub mod ext_authz;
pub mod http_connection_manager;
pub mod mongo_proxy;
pub mod proxy_headers;
pub mod rbac;
pub mod redis_proxy;
pub mod sni_dynamic_forward_proxy;
pub mod tcp_proxy;
pub mod tracing;
