//! Resolves the host of a request before the router sends it, for clusters of dynamic DNS.

use crate::cluster::DnsCache;
use crate::filter::http_filter;
use xds_api::envoy::extensions::filters::{
    http::dynamic_forward_proxy::v3::{FilterConfig, filter_config::ImplementationSpecifier},
    network::http_connection_manager::v3::HttpFilter,
};

/// The name of the filter.
pub const NAME: &str = "envoy.filters.http.dynamic_forward_proxy";

/// Does nothing for requests to clusters of other types.
pub fn dynamic_forward_proxy(cache: &DnsCache) -> HttpFilter {
    let configuration =
        FilterConfig { implementation_specifier: Some(ImplementationSpecifier::DnsCacheConfig(cache.config())), ..FilterConfig::default() };
    http_filter(NAME, &configuration)
}
