//! `connect_originate`, the listener within the proxy that wraps connections into HBONE: endpoints that take it are addressed
//! there, and their metadata says where the tunnel ends.

use crate::cluster::CONNECT_ORIGINATE_CLUSTER;
use crate::filter::listener::original_dst::original_dst;
use crate::filter::{network::tcp_proxy, network_filter};
use xds_api::envoy::config::listener::v3::{
    FilterChain, Listener,
    listener::{InternalListenerConfig, ListenerSpecifier},
};
use xds_api::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy,
    tcp_proxy::{ClusterSpecifier, TunnelingConfig},
};

/// The listener; the same for every proxy.
pub fn connect_originate_listener() -> Listener {
    let proxy = TcpProxy {
        stat_prefix: CONNECT_ORIGINATE_CLUSTER.to_owned(),
        cluster_specifier: Some(ClusterSpecifier::Cluster(CONNECT_ORIGINATE_CLUSTER.to_owned())),
        tunneling_config: Some(TunnelingConfig { hostname: "%DOWNSTREAM_LOCAL_ADDRESS%".to_owned(), ..TunnelingConfig::default() }),
        ..TcpProxy::default()
    };
    Listener {
        name: CONNECT_ORIGINATE_CLUSTER.to_owned(),
        use_original_dst: Some(false.into()),
        listener_specifier: Some(ListenerSpecifier::InternalListener(InternalListenerConfig::default())),
        listener_filters: vec![original_dst()],
        filter_chains: vec![FilterChain { filters: vec![network_filter(tcp_proxy::NAME, &proxy)], ..FilterChain::default() }],
        ..Listener::default()
    }
}
