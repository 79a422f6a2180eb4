//! Builders of Envoy's configuration: pure functions from small input structs to protobuf messages or their bytes.
//!
//! In: `…Inputs` structs, which hold exactly what a resource depends on. Out: messages of `xds-api` or encoded bytes.
//! Never: the snapshot of the mesh, the store of configuration, I/O, clocks.
//! Read first: `route/mod.rs`, whose modules have one concern each; the other folders are built alike.

pub mod access_log;
pub mod authz;
pub mod cluster;
pub mod endpoint;
pub mod filter;
pub mod listener;
pub mod route;
pub mod tls;
