//! The address that the client called, before iptables redirected the connection.

use crate::filter::listener_filter;
use xds_api::envoy::config::listener::v3::ListenerFilter;
use xds_api::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;

/// The name of the filter.
pub const NAME: &str = "envoy.filters.listener.original_dst";

/// Restores the original destination.
pub fn original_dst() -> ListenerFilter {
    listener_filter(NAME, &OriginalDst::default())
}
