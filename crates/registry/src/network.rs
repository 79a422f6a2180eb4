//! Networks: which one an endpoint is in, and through which gateways it is entered from outside.

use base::{ClusterId, DomainSuffix, Labels, NetworkId, PortNumber};
use config::{Key, Store, StoreChanges};
use incremental::Cx;
use istio_api::Object;
use istio_api::kubernetes::{node::Node, service::Service};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// The label that says where a workload is, and which network a Service is the gateway of.
pub const NETWORK: &str = "topology.istio.io/network";
/// The port of such a Service, if it is another than 15443.
const GATEWAY_PORT: &str = "networking.istio.io/gatewayPort";
/// On a Service of type NodePort: the nodes through which it is reached, as a JSON object of labels.
const NODE_SELECTOR: &str = "traffic.istio.io/nodeSelector";
const DEFAULT_GATEWAY_PORT: PortNumber = 15443;

/// One way into a network, ordered by address and port as Istio's `SortGateways` does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NetworkGateway {
    /// Where it is reached: an address or a name.
    pub address: Arc<str>,
    /// The port there.
    pub port: PortNumber,
    /// The network behind it.
    pub network: NetworkId,
    /// The cluster of its Service; empty for one that MeshNetworks gives by its address.
    pub cluster: ClusterId,
}

/// All gateways of networks. Without any, every endpoint is called directly.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct NetworkGateways {
    /// As they are given: for clusters that Envoy resolves.
    given: Ways,
    /// With the addresses of those that are given by a name: for endpoints that istiod sends.
    resolved: Ways,
    names: BTreeSet<Arc<str>>,
}

/// The ways into networks.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Ways {
    by_network: BTreeMap<NetworkId, Vec<NetworkGateway>>,
    by_cluster: BTreeMap<(NetworkId, ClusterId), Vec<NetworkGateway>>,
    scale: u32,
}

impl Ways {
    fn new(gateways: BTreeSet<NetworkGateway>) -> Self {
        let mut out = Self { scale: 1, ..Self::default() };
        for gateway in gateways {
            let key = (gateway.network.clone(), gateway.cluster.clone());
            out.by_network.entry(gateway.network.clone()).or_default().push(gateway.clone());
            out.by_cluster.entry(key).or_default().push(gateway);
        }
        let counts = out.by_network.values().map(Vec::len).chain(out.by_cluster.values().map(Vec::len));
        out.scale = counts.filter_map(|count| u32::try_from(count).ok()).fold(1, least_common_multiple);
        out
    }
}

impl NetworkGateways {
    fn new(gateways: BTreeSet<NetworkGateway>, addresses: &BTreeMap<Arc<str>, Arc<[IpAddr]>>) -> Self {
        let is_name = |gateway: &&NetworkGateway| gateway.address.parse::<IpAddr>().is_err();
        let names = gateways.iter().filter(is_name).map(|gateway| gateway.address.clone()).collect();
        let resolved = gateways.iter().flat_map(|gateway| -> Vec<NetworkGateway> {
            if !is_name(&gateway) {
                return vec![gateway.clone()];
            }
            let found = addresses.get(&gateway.address).into_iter().flat_map(|addresses| addresses.iter());
            found.map(|address| NetworkGateway { address: Arc::from(address.to_string()), ..gateway.clone() }).collect()
        });
        Self { resolved: Ways::new(resolved.collect()), given: Ways::new(gateways), names }
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.given.by_network.is_empty()
    }

    /// The names among their addresses, which somebody has to look up.
    pub fn names(&self) -> &BTreeSet<Arc<str>> {
        &self.names
    }

    /// Those for endpoints of this network and cluster, else those of the network; `by_name` if the proxy resolves names.
    /// One whose name has no address yet is none for other proxies.
    pub fn select(&self, network: &NetworkId, cluster: &ClusterId, by_name: bool) -> &[NetworkGateway] {
        let ways = self.ways(by_name);
        let of_cluster = ways.by_cluster.get(&(network.clone(), cluster.clone()));
        of_cluster.or_else(|| ways.by_network.get(network)).map(Vec::as_slice).unwrap_or_default()
    }

    /// By what all weights are multiplied, so that each can be divided among gateways: the least common multiple of their
    /// numbers.
    pub fn weight_scale(&self, by_name: bool) -> u32 {
        self.ways(by_name).scale.max(1)
    }

    fn ways(&self, by_name: bool) -> &Ways {
        if by_name { &self.given } else { &self.resolved }
    }
}

fn least_common_multiple(a: u32, b: u32) -> u32 {
    let (mut x, mut y) = (a, b.max(1));
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a.saturating_mul(b) / x.max(1)
}

/// The gateways, and what is kept to find them cheaply: those of each Service.
#[derive(Clone, Default)]
pub struct Networks {
    of_services: BTreeMap<Key, Vec<NetworkGateway>>,
    /// What is built of them.
    pub gateways: Arc<NetworkGateways>,
}

impl Networks {
    /// Brings the gateways up to date, and says whether any changed. Cost: the Services that changed; all of them if nodes
    /// or networks did.
    pub fn advance(&mut self, store: &Store, changes: &StoreChanges, domain: &DomainSuffix) -> bool {
        let cx = &mut Cx::default();
        let everything = changes.mesh || !changes.nodes.is_empty();
        let dirty: BTreeSet<Key> = if everything { store.services.iter(cx).map(|(key, _)| key.clone()).collect() } else { BTreeSet::new() };
        if dirty.is_empty() && changes.services.is_empty() && !changes.addresses && !everything {
            return false;
        }
        for key in dirty.iter().chain(&changes.services.0) {
            let found = store.services.get(cx, key).map(|service| of_service(store, domain, key, service)).unwrap_or_default();
            if found.is_empty() {
                self.of_services.remove(key);
            } else {
                self.of_services.insert(key.clone(), found);
            }
        }
        let given = self.of_services.values().flatten().cloned().chain(by_address(store));
        let all = NetworkGateways::new(given.collect(), &store.addresses);
        let changed = *self.gateways != all;
        if changed {
            self.gateways = Arc::new(all);
        }
        changed
    }
}

/// The gateways that MeshNetworks gives by their address.
fn by_address(store: &Store) -> Vec<NetworkGateway> {
    let rows = store.networks.networks.iter().flat_map(|(name, network)| network.gateways.iter().map(move |gateway| (name, gateway)));
    let given = rows.filter_map(|(name, gateway)| {
        let address = gateway.address.as_deref().filter(|address| !address.is_empty())?;
        let port = PortNumber::try_from(gateway.port).ok()?;
        Some(NetworkGateway { address: Arc::from(address), port, network: NetworkId::new(name), cluster: ClusterId::default() })
    });
    given.collect()
}

/// The networks that a Service is the gateway of (by its label, else by its name in MeshNetworks), at each of its addresses
/// outside of its cluster (Istio's `extractGatewaysInner`).
fn of_service(store: &Store, domain: &DomainSuffix, key: &Key, service: &Object<Service>) -> Vec<NetworkGateway> {
    let networks = networks_of(store, domain, key, service);
    if networks.is_empty() {
        return Vec::new();
    }
    let node_ports: BTreeMap<i32, i32> = match service.metadata.annotations.contains_key(NODE_SELECTOR) {
        true => service.spec.ports.iter().filter(|port| port.node_port != 0).map(|port| (port.port, port.node_port)).collect(),
        false => BTreeMap::new(),
    };
    let mut out = Vec::new();
    for address in external_addresses(store, key, service) {
        for (network, port) in &networks {
            let outside = node_ports.get(&i32::from(*port)).and_then(|port| PortNumber::try_from(*port).ok()).unwrap_or(*port);
            out.push(NetworkGateway { address: address.clone(), port: outside, network: network.clone(), cluster: key.cluster.clone() });
        }
    }
    out
}

fn networks_of(store: &Store, domain: &DomainSuffix, key: &Key, service: &Object<Service>) -> Vec<(NetworkId, PortNumber)> {
    if let Some(network) = service.metadata.labels.get(NETWORK).filter(|network| !network.is_empty()) {
        let port = service.metadata.labels.get(GATEWAY_PORT).and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_GATEWAY_PORT);
        return vec![(NetworkId::new(network), port)];
    }
    let hostname = crate::kubernetes::hostname(&key.name, key.namespace.as_str(), domain);
    let here =
        store.networks.networks.iter().filter(|(_, network)| {
            network.endpoints.iter().any(|endpoints| endpoints.from_registry.as_deref() == Some(key.cluster.as_str()))
        });
    let rows = here.flat_map(|(name, network)| network.gateways.iter().map(move |gateway| (name, gateway)));
    rows.filter(|(_, gateway)| gateway.registry_service_name.as_deref() == Some(hostname.as_str()))
        .filter_map(|(name, gateway)| Some((NetworkId::new(name), PortNumber::try_from(gateway.port).ok()?)))
        .collect()
}

/// Where a Service is reached from outside of its cluster: its load balancer and external addresses, or the nodes that its
/// annotation selects.
fn external_addresses(store: &Store, key: &Key, service: &Object<Service>) -> Vec<Arc<str>> {
    let mut out: BTreeSet<Arc<str>> = BTreeSet::new();
    match service.spec.service_type.as_str() {
        "NodePort" => {
            let Some(selector) = service.metadata.annotations.get(NODE_SELECTOR) else { return Vec::new() };
            let Ok(wanted) = serde_json::from_str::<BTreeMap<String, String>>(selector) else { return Vec::new() };
            let nodes = store.nodes.iter(&mut Cx::default()).filter(|(node, _)| node.cluster == key.cluster).map(|(_, node)| node);
            out.extend(nodes.filter(|node| node.metadata.labels.contain(&wanted)).filter_map(|node| external_address(node)));
        }
        "LoadBalancer" => {
            for ingress in &service.status.load_balancer.ingress {
                let address = if ingress.ip.is_empty() { &ingress.hostname } else { &ingress.ip };
                out.extend(Some(address).filter(|address| !address.is_empty()).map(|address| Arc::from(address.as_str())));
            }
        }
        _ => {}
    }
    out.extend(service.spec.external_ips.iter().map(|address| Arc::from(address.as_str())));
    out.into_iter().collect()
}

fn external_address(node: &Object<Node>) -> Option<Arc<str>> {
    let of = |kind: &str| node.status.addresses.iter().find(|address| address.address_type == kind && !address.address.is_empty());
    of("ExternalIP").map(|address| Arc::from(address.address.as_str()))
}

/// The network of an endpoint: by its label, its cluster's system namespace, or MeshNetworks (by cluster, then by address).
pub fn network(store: &Store, cluster: &ClusterId, labels: &Labels, address: Option<IpAddr>) -> NetworkId {
    if let Some(network) = labels.get(NETWORK) {
        return NetworkId::new(network);
    }
    let key = Key { namespace: "".into(), name: Arc::from(store.mesh.root_namespace.as_str()), cluster: cluster.clone() };
    let system = store.namespaces.get(&mut Cx::default(), &key);
    if let Some(network) = system.and_then(|namespace| namespace.metadata.labels.get(NETWORK)) {
        return NetworkId::new(network);
    }
    let networks = &store.networks.networks;
    let by_registry = networks
        .iter()
        .find(|(_, network)| network.endpoints.iter().any(|endpoints| endpoints.from_registry.as_deref() == Some(cluster.as_str())));
    let contains = |range: &str| range.parse::<base::Cidr>().is_ok_and(|range| address.is_some_and(|address| range.0.contains(&address)));
    let by_range =
        || networks.iter().find(|(_, network)| network.endpoints.iter().filter_map(|rows| rows.from_cidr.as_deref()).any(contains));
    by_registry.or_else(by_range).map(|(name, _)| NetworkId::new(name)).unwrap_or_default()
}
