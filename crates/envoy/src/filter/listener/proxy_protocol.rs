//! The PROXY protocol, in which a load balancer in front of a gateway says who the client is.

use crate::filter::listener_filter;
use xds_api::envoy::config::listener::v3::ListenerFilter;
use xds_api::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;

/// The name of the filter.
pub const NAME: &str = "envoy.filters.listener.proxy_protocol";

/// Demands the header on every connection.
pub fn proxy_protocol() -> ListenerFilter {
    listener_filter(NAME, &ProxyProtocol::default())
}
