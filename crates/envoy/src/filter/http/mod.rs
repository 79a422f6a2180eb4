//! HTTP filters, one file each. Their order is in `../order.rs`.

pub mod cors;
pub mod dynamic_forward_proxy;
pub mod fault;
pub mod grpc_stats;
pub mod grpc_web;
pub mod peer_metadata;
pub mod router;
