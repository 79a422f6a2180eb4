//! Where opaque bytes go.

use super::{mongo_proxy::mongo_proxy, redis_proxy::redis_proxy, sni_dynamic_forward_proxy::sni_dynamic_forward_proxy};
use crate::cluster::{BLACK_HOLE_CLUSTER, DnsCache};
use crate::filter::network_filter;
use base::{PortNumber, Protocol};
use std::time::Duration;
use xds_api::envoy::config::accesslog::v3::AccessLog;
use xds_api::envoy::config::listener::v3::Filter;
use xds_api::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy,
    tcp_proxy::{ClusterSpecifier, TcpAccessLogOptions, TunnelingConfig, WeightedCluster, weighted_cluster::ClusterWeight},
};
use xds_api::envoy::r#type::v3::{
    HashPolicy,
    hash_policy::{PolicySpecifier, SourceIp},
};

/// The name of the filter.
pub const NAME: &str = "envoy.filters.network.tcp_proxy";

/// What every TCP chain of a proxy and direction has in common.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TcpOptions {
    /// Access loggers, metrics among them.
    pub access_logs: Vec<AccessLog>,
    /// Node metadata `IDLE_TIMEOUT`; `None` is Envoy's hour.
    pub idle_timeout: Option<Duration>,
    /// Filters that stand before the one that knows the protocol: authorization, extensions.
    pub filters: Vec<Filter>,
    /// Not `PILOT_ENABLE_MONGO_FILTER`: MongoDB is forwarded like anything else.
    pub plain_mongo: bool,
    /// `PILOT_ENABLE_REDIS_FILTER`: Redis is spoken by the proxy, which spreads keys over the endpoints.
    pub redis: bool,
}

/// Where the connections of one chain go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TcpDestinations {
    /// The prefix of its statistics: the cluster's name or its alternative, `<VirtualService>.<namespace>` for several.
    pub stat_prefix: String,
    /// Cluster names with weights. A weight of 0 gets nothing, unless it is the only cluster.
    pub clusters: Vec<(String, u32)>,
    /// DestinationRule: consistent hashing on the client's address.
    pub hash_source_ip: bool,
    /// DestinationRule `connectionPool.tcp.idleTimeout`; before the one of [`TcpOptions`].
    pub idle_timeout: Option<Duration>,
    /// DestinationRule `connectionPool.tcp.maxConnectionDuration`.
    pub max_connection_duration: Option<Duration>,
    /// DestinationRule `tunnel`: the cluster is an HTTP proxy, which is asked for this destination.
    pub tunnel: Option<TcpTunnel>,
    /// The cache and the port, where the server name of a TLS connection says where it goes (dynamic DNS).
    pub sni_resolution: Option<(DnsCache, PortNumber)>,
}

/// What an HTTP proxy is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpTunnel {
    /// `host:port`
    pub target: String,
    /// By POST in place of CONNECT.
    pub post: bool,
}

impl TcpDestinations {
    /// All connections to one cluster, which names the statistics too.
    pub fn cluster(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { stat_prefix: name.clone(), clusters: vec![(name, 0)], ..Self::default() }
    }
}

/// All that a TCP proxy depends on.
#[derive(Clone, Copy, Debug)]
pub struct TcpProxyInputs<'a> {
    /// Where the connections go.
    pub destinations: &'a TcpDestinations,
    /// What is common to the proxy.
    pub options: &'a TcpOptions,
}

/// The TCP proxy.
pub fn tcp_proxy(inputs: &TcpProxyInputs<'_>) -> Filter {
    let destinations = inputs.destinations;
    let source_ip = HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp::default())) };
    let configuration = TcpProxy {
        stat_prefix: destinations.stat_prefix.clone(),
        idle_timeout: destinations.idle_timeout.or(inputs.options.idle_timeout).map(Into::into),
        max_downstream_connection_duration: destinations.max_connection_duration.map(Into::into),
        access_log: inputs.options.access_logs.clone(),
        // Also when a connection opens: the metrics count that.
        access_log_options: (!inputs.options.access_logs.is_empty())
            .then(|| TcpAccessLogOptions { flush_access_log_on_connected: true, ..TcpAccessLogOptions::default() }),
        hash_policy: if destinations.hash_source_ip { vec![source_ip] } else { Vec::new() },
        cluster_specifier: Some(cluster_specifier(&destinations.clusters)),
        tunneling_config: destinations.tunnel.as_ref().map(|tunnel| TunnelingConfig {
            hostname: tunnel.target.clone(),
            use_post: tunnel.post,
            ..TunnelingConfig::default()
        }),
        ..TcpProxy::default()
    };
    network_filter(NAME, &configuration)
}

/// Envoy refuses a weight of 0 and an empty list, so neither is ever sent.
fn cluster_specifier(clusters: &[(String, u32)]) -> ClusterSpecifier {
    if let [(only, _)] = clusters {
        return ClusterSpecifier::Cluster(only.clone());
    }
    let weighted: Vec<_> = clusters
        .iter()
        .filter(|(_, weight)| *weight > 0)
        .map(|(name, weight)| ClusterWeight { name: name.clone(), weight: *weight, ..ClusterWeight::default() })
        .collect();
    match weighted.as_slice() {
        [] => ClusterSpecifier::Cluster(BLACK_HOLE_CLUSTER.to_owned()),
        [only] => ClusterSpecifier::Cluster(only.name.clone()),
        _ => ClusterSpecifier::WeightedClusters(WeightedCluster { clusters: weighted }),
    }
}

/// All network filters of a TCP chain, in order: those of the proxy, the one that knows `protocol` (MongoDB is on by
/// default in Istio, Redis is not, and MySQL's is no part of a stock Envoy), and the TCP proxy.
pub fn tcp_filters(protocol: Protocol, inputs: &TcpProxyInputs<'_>) -> Vec<Filter> {
    let mut filters = inputs.options.filters.clone();
    if let (Protocol::Redis, true, [(cluster, _)]) = (protocol, inputs.options.redis, inputs.destinations.clusters.as_slice()) {
        filters.push(redis_proxy(&inputs.destinations.stat_prefix, cluster));
        return filters;
    }
    if protocol == Protocol::Mongo && !inputs.options.plain_mongo {
        filters.push(mongo_proxy(&inputs.destinations.stat_prefix));
    }
    if let Some((cache, port)) = &inputs.destinations.sni_resolution {
        filters.push(sni_dynamic_forward_proxy(cache, *port));
    }
    filters.push(tcp_proxy(inputs));
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_zero_get_nothing() {
        let of = |clusters: &[(&str, u32)]| {
            cluster_specifier(&clusters.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect::<Vec<_>>())
        };
        assert_eq!(of(&[("a", 0)]), ClusterSpecifier::Cluster("a".into()));
        assert_eq!(of(&[("a", 0), ("b", 100)]), ClusterSpecifier::Cluster("b".into()));
        assert_eq!(of(&[("a", 0), ("b", 0)]), ClusterSpecifier::Cluster(BLACK_HOLE_CLUSTER.into()));
        let ClusterSpecifier::WeightedClusters(both) = of(&[("a", 20), ("b", 80), ("c", 0)]) else { panic!("not weighted") };
        assert_eq!(both.clusters.iter().map(|cluster| cluster.weight).collect::<Vec<_>>(), [20, 80]);
    }
}
