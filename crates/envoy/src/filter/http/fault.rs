//! Injected delays and aborts. Which ones stands on each route.

use crate::filter::http_filter;
use xds_api::envoy::extensions::filters::{http::fault::v3::HttpFault, network::http_connection_manager::v3::HttpFilter};

/// The name of the filter, also the key of its configuration on a route.
pub const NAME: &str = "envoy.filters.http.fault";

/// Does nothing where a route has no fault.
pub fn fault() -> HttpFilter {
    http_filter(NAME, &HttpFault::default())
}
