//! Statistics of MongoDB's protocol, in front of the TCP proxy.

use crate::filter::network_filter;
use xds_api::envoy::config::listener::v3::Filter;
use xds_api::envoy::extensions::filters::network::mongo_proxy::v3::MongoProxy;

/// The name of the filter.
pub const NAME: &str = "envoy.filters.network.mongo_proxy";

/// Reads along and changes nothing.
pub fn mongo_proxy(stat_prefix: &str) -> Filter {
    network_filter(NAME, &MongoProxy { stat_prefix: stat_prefix.to_owned(), ..MongoProxy::default() })
}
