//! The last HTTP filter, which sends the request.

use crate::filter::http_filter;
use xds_api::envoy::extensions::filters::{http::router::v3::Router, network::http_connection_manager::v3::HttpFilter};

/// The name of the filter.
pub const NAME: &str = "envoy.filters.http.router";

/// The router; `hides_envoy_headers` keeps `x-envoy-…` headers from clients and servers.
pub fn router(hides_envoy_headers: bool) -> HttpFilter {
    http_filter(NAME, &Router { suppress_envoy_headers: hides_envoy_headers, ..Router::default() })
}
