//! Resolves the server name of a TLS connection before the TCP proxy forwards it, for clusters of dynamic DNS.

use crate::cluster::DnsCache;
use crate::filter::network_filter;
use base::PortNumber;
use xds_api::envoy::config::listener::v3::Filter;
use xds_api::envoy::extensions::filters::network::sni_dynamic_forward_proxy::v3::{FilterConfig, filter_config::PortSpecifier};

/// The name of the filter.
pub const NAME: &str = "envoy.extensions.filters.network.sni_dynamic_forward_proxy";

/// The connection goes to `port` of the name.
pub fn sni_dynamic_forward_proxy(cache: &DnsCache, port: PortNumber) -> Filter {
    let configuration = FilterConfig {
        dns_cache_config: Some(cache.config()),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..FilterConfig::default()
    };
    network_filter(NAME, &configuration)
}
