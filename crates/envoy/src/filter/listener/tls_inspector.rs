//! Recognises TLS, the server name and the protocols that the client offers.

use super::DisabledPorts;
use crate::filter::listener_filter;
use xds_api::envoy::config::listener::v3::ListenerFilter;
use xds_api::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;

/// The name of the filter.
pub const NAME: &str = "envoy.filters.listener.tls_inspector";

/// Off on the given ports. The buffer starts small and grows, as most connections through it are no TLS.
pub fn tls_inspector(disabled: &DisabledPorts) -> ListenerFilter {
    let inspector = TlsInspector { initial_read_buffer_size: Some(512.into()), ..TlsInspector::default() };
    ListenerFilter { filter_disabled: disabled.predicate(), ..listener_filter(NAME, &inspector) }
}
