//! Asks an external authorizer about a connection.

use crate::filter::network_filter;
use xds_api::envoy::config::listener::v3::Filter;
use xds_api::envoy::extensions::filters::network::ext_authz::v3::ExtAuthz;

/// The name of the filter.
pub const NAME: &str = "envoy.filters.network.ext_authz";

/// The filter with these settings.
pub fn ext_authz(settings: &ExtAuthz) -> Filter {
    network_filter(NAME, settings)
}
