//! HTTP filters, one file each. Their order is in `../order.rs`.

pub mod cors;
pub mod dynamic_forward_proxy;
pub mod ext_authz;
pub mod fault;
pub mod grpc_stats;
pub mod grpc_web;
pub mod jwt_authn;
pub mod peer_metadata;
pub mod rbac;
pub mod router;
pub mod stateful_session;
pub mod upstream_alpn;
