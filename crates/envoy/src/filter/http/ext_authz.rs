//! Asks an external authorizer about a request.

use crate::filter::http_filter;
use xds_api::envoy::extensions::filters::{http::ext_authz::v3::ExtAuthz, network::http_connection_manager::v3::HttpFilter};

/// The name of the filter.
pub const NAME: &str = "envoy.filters.http.ext_authz";

/// The filter with these settings.
pub fn ext_authz(settings: &ExtAuthz) -> HttpFilter {
    http_filter(NAME, settings)
}
