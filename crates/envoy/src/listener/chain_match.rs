//! Which connections a filter chain takes.

use crate::filter::network::http_connection_manager::HttpOptions;
use base::{Cidr, PortNumber};
use xds_api::envoy::config::core::v3::CidrRange;
use xds_api::envoy::config::listener::v3::FilterChainMatch;

/// The transport protocol that the TLS inspector reports.
pub(super) const TLS: &str = "tls";
/// The transport protocol of everything else.
pub(super) const RAW_BUFFER: &str = "raw_buffer";

/// Mutual TLS between proxies with HTTP in it.
pub(super) const ISTIO_HTTP_PROTOCOLS: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// Mutual TLS between proxies with anything else in it.
pub(super) const ISTIO_TCP_PROTOCOLS: &[&str] = &["istio-peer-exchange", "istio"];
/// Mutual TLS between proxies, whatever is in it.
pub(super) const ISTIO_PROTOCOLS: &[&str] = &["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];

/// What the HTTP inspector reports for plain-text HTTP.
pub(super) fn plain_http_protocols(options: &HttpOptions) -> &'static [&'static str] {
    if options.sniff_http10 { &["http/1.0", "http/1.1", "h2c"] } else { &["http/1.1", "h2c"] }
}

/// Owned copies.
pub(super) fn owned(protocols: &[&str]) -> Vec<String> {
    protocols.iter().map(|protocol| (*protocol).to_owned()).collect()
}

/// Plain-text HTTP, by its first bytes.
pub(super) fn plain_http(options: &HttpOptions) -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: RAW_BUFFER.to_owned(),
        application_protocols: owned(plain_http_protocols(options)),
        ..FilterChainMatch::default()
    }
}

/// One destination port.
pub(super) fn port(port: PortNumber) -> FilterChainMatch {
    FilterChainMatch { destination_port: Some(u32::from(port).into()), ..FilterChainMatch::default() }
}

/// Server names and destination addresses; `None` if neither says anything. A lone `*` is every name, with or without TLS,
/// so it drops the condition.
pub(super) fn destination(server_names: &[String], subnets: &[Cidr]) -> Option<FilterChainMatch> {
    let any_name = server_names.iter().any(|name| name == "*");
    let server_names = if any_name { Vec::new() } else { server_names.to_vec() };
    if server_names.is_empty() && subnets.is_empty() {
        return None;
    }
    let prefix_ranges = subnets.iter().map(cidr_range).collect();
    Some(FilterChainMatch { server_names, prefix_ranges, ..FilterChainMatch::default() })
}

/// The address is left as the user wrote it: Envoy masks it.
pub(crate) fn cidr_range(cidr: &Cidr) -> CidrRange {
    CidrRange { address_prefix: cidr.0.addr().to_string(), prefix_len: Some(u32::from(cidr.0.prefix_len()).into()) }
}
