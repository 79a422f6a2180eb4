//! Calls the workload from the client's own address, under TPROXY.

use crate::filter::listener_filter;
use xds_api::envoy::config::listener::v3::ListenerFilter;
use xds_api::envoy::extensions::filters::listener::original_src::v3::OriginalSrc;

/// The name of the filter.
pub const NAME: &str = "envoy.filters.listener.original_src";

/// The mark of packets that the proxy sends itself, by which Istio's TPROXY rules let them through.
const MARK: u32 = 1337;

/// Keeps the client's address.
pub fn original_src() -> ListenerFilter {
    listener_filter(NAME, &OriginalSrc { mark: MARK, ..OriginalSrc::default() })
}
