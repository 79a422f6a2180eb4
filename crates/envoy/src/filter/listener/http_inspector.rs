//! Recognises plain-text HTTP by its first bytes, for filter chains that match `http/1.1` or `h2c`.

use super::DisabledPorts;
use crate::filter::listener_filter;
use xds_api::envoy::config::listener::v3::ListenerFilter;
use xds_api::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;

/// The name of the filter.
pub const NAME: &str = "envoy.filters.listener.http_inspector";

/// Off on the given ports.
pub fn http_inspector(disabled: &DisabledPorts) -> ListenerFilter {
    ListenerFilter { filter_disabled: disabled.predicate(), ..listener_filter(NAME, &HttpInspector::default()) }
}
