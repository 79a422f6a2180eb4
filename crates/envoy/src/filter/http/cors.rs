//! Cross-origin requests. What is allowed stands on each route.

use crate::filter::http_filter;
use xds_api::envoy::extensions::filters::{http::cors::v3::Cors, network::http_connection_manager::v3::HttpFilter};

/// The name of the filter, also the key of its configuration on a route.
pub const NAME: &str = "envoy.filters.http.cors";

/// Does nothing where a route has no CORS policy.
pub fn cors() -> HttpFilter {
    http_filter(NAME, &Cors::default())
}
