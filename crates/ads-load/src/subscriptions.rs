//! Which names a proxy subscribes to because of a cluster or listener, as Envoy does.

use crate::fields::{Value, bytes_of, text_of, walk};
use rustc_hash::FxHashMap;
use std::{cell::RefCell, sync::Arc};
use xds_wire::ResourceType;
use xxhash_rust::xxh3::xxh3_128;

/// `Cluster.DiscoveryType.EDS`.
const EDS: u64 = 3;

thread_local! {
    /// Most resources are the same for all streams, so each is looked into once.
    static KNOWN: RefCell<FxHashMap<u128, Arc<[Arc<str>]>>> = RefCell::default();
}

/// The names of type [`follows`] that a proxy wants because of this resource.
pub fn wanted(kind: ResourceType, body: &[u8]) -> Arc<[Arc<str>]> {
    let key = xxh3_128(body);
    if let Some(names) = KNOWN.with_borrow(|known| known.get(&key).cloned()) {
        return names;
    }
    let names = match kind {
        ResourceType::Cluster => of_cluster(body),
        ResourceType::Listener => of_listener(body),
        _ => Vec::new(),
    };
    let names: Arc<[Arc<str>]> = names.into_iter().map(Arc::from).collect();
    KNOWN.with_borrow_mut(|known| known.insert(key, names.clone()));
    names
}

/// The type whose names a resource of `kind` brings.
pub fn follows(kind: ResourceType) -> Option<ResourceType> {
    match kind {
        ResourceType::Cluster => Some(ResourceType::Endpoint),
        ResourceType::Listener => Some(ResourceType::Route),
        _ => None,
    }
}

/// `Cluster { name = 1, type = 2, eds_cluster_config = 3 { service_name = 2 } }`.
fn of_cluster(cluster: &[u8]) -> Vec<String> {
    let mut discovery = 0;
    walk(cluster, |number, value| {
        if let (2, Value::Varint(value)) = (number, value) {
            discovery = value;
        }
    });
    if discovery != EDS {
        return Vec::new();
    }
    let service_name = bytes_of(cluster, 3).map(|config| text_of(config, 2)).unwrap_or_default();
    let name = if service_name.is_empty() { text_of(cluster, 1) } else { service_name };
    vec![name.to_owned()]
}

/// `Listener { filter_chains = 3, default_filter_chain = 25 }`, each `{ filters = 3 { typed_config = 4 { value = 2 } } }`
/// with `HttpConnectionManager { rds = 3 { route_config_name = 2 } }`.
fn of_listener(listener: &[u8]) -> Vec<String> {
    const MANAGER: &str = "/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let mut names = Vec::new();
    walk(listener, |number, chain| {
        let (3 | 25, Value::Bytes(chain)) = (number, chain) else { return };
        walk(chain, |number, filter| {
            let (3, Value::Bytes(filter)) = (number, filter) else { return };
            let Some(config) = bytes_of(filter, 4).filter(|config| text_of(config, 1).ends_with(MANAGER)) else { return };
            let rds = bytes_of(config, 2).and_then(|manager| bytes_of(manager, 3));
            let name = rds.map(|rds| text_of(rds, 2)).unwrap_or_default();
            if !name.is_empty() && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        });
    });
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use xds_api::{
        Wire,
        envoy::{
            config::{
                cluster::v3::{Cluster, cluster::ClusterDiscoveryType},
                listener::v3::{Filter, FilterChain, Listener, filter::ConfigType},
            },
            extensions::filters::network::http_connection_manager::v3::{
                HttpConnectionManager, Rds, http_connection_manager::RouteSpecifier,
            },
        },
    };

    fn names(kind: ResourceType, body: &[u8]) -> Vec<String> {
        wanted(kind, body).iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn clusters_bring_endpoints_and_listeners_bring_routes() {
        let cluster =
            |kind| Cluster { name: "a".to_owned(), cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind)), ..Default::default() };
        assert_eq!(names(ResourceType::Cluster, &cluster(3).to_bytes()), ["a"]);
        assert_eq!(names(ResourceType::Cluster, &cluster(1).to_bytes()), [""; 0]);
        let manager = |name: &str| HttpConnectionManager {
            route_specifier: Some(RouteSpecifier::Rds(Rds { route_config_name: name.to_owned(), ..Default::default() })),
            ..Default::default()
        };
        let chain = |name: &str| FilterChain {
            filters: vec![Filter { name: "http".to_owned(), config_type: Some(ConfigType::TypedConfig(manager(name).to_any())) }],
            ..Default::default()
        };
        let listener =
            Listener { filter_chains: vec![chain("80"), chain("80")], default_filter_chain: Some(chain("81")), ..Default::default() };
        assert_eq!(names(ResourceType::Listener, &listener.to_bytes()), ["80", "81"]);
    }
}
