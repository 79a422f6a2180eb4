//! The last HTTP filter, which sends the request.

use crate::filter::http_filter;
use xds_api::envoy::extensions::filters::{http::router::v3::Router, network::http_connection_manager::v3::HttpFilter};

/// The name of the filter.
pub const NAME: &str = "envoy.filters.http.router";

/// The router with Envoy's defaults.
pub fn router() -> HttpFilter {
    http_filter(NAME, &Router::default())
}
