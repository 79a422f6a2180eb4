//! Speaks Redis, and sends each key to the endpoint that its hash says.

use crate::filter::network_filter;
use std::time::Duration;
use xds_api::envoy::config::listener::v3::Filter;
use xds_api::envoy::extensions::filters::network::redis_proxy::v3::{
    RedisProxy,
    redis_proxy::{ConnPoolSettings, PrefixRoutes, prefix_routes::Route},
};

/// The name of the filter.
pub const NAME: &str = "envoy.filters.network.redis_proxy";

/// How long an operation may take (Istio's constant).
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends every key to `cluster`. It ends the chain: nothing is forwarded that is not Redis.
pub fn redis_proxy(stat_prefix: &str, cluster: &str) -> Filter {
    let configuration = RedisProxy {
        stat_prefix: stat_prefix.to_owned(),
        settings: Some(ConnPoolSettings { op_timeout: Some(OPERATION_TIMEOUT.into()), ..ConnPoolSettings::default() }),
        prefix_routes: Some(PrefixRoutes {
            catch_all_route: Some(Route { cluster: cluster.to_owned(), ..Route::default() }),
            ..PrefixRoutes::default()
        }),
        latency_in_micros: true,
        ..RedisProxy::default()
    };
    network_filter(NAME, &configuration)
}
