//! Counts of gRPC messages, for the metrics `istio_request_messages_total` and `istio_response_messages_total`.

use crate::filter::http_filter;
use xds_api::envoy::extensions::filters::http::grpc_stats::v3::{FilterConfig, filter_config::PerMethodStatSpecifier};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The name of the filter.
pub const NAME: &str = "envoy.filters.http.grpc_stats";

/// Leaves the counts in the filter state and keeps no statistics by method, whose number a client could drive up.
pub fn grpc_stats() -> HttpFilter {
    let configuration = FilterConfig {
        emit_filter_state: true,
        per_method_stat_specifier: Some(PerMethodStatSpecifier::StatsForAllMethods(false.into())),
        ..FilterConfig::default()
    };
    http_filter(NAME, &configuration)
}
