//! gRPC-Web to gRPC, on ports that are declared so.

use crate::filter::http_filter;
use xds_api::envoy::extensions::filters::{http::grpc_web::v3::GrpcWeb, network::http_connection_manager::v3::HttpFilter};

/// The name of the filter.
pub const NAME: &str = "envoy.filters.http.grpc_web";

/// Turns what is marked as gRPC-Web and lets everything else pass.
pub fn grpc_web() -> HttpFilter {
    http_filter(NAME, &GrpcWeb::default())
}
