//! The endpoints of one cluster, as one class sees them.

use crate::class::ClassKey;
use base::{Address, ClusterId, Labels, Locality, NetworkId, ObjectRef, PortNumber};
use bytes::Bytes;
use envoy::endpoint::{
    self, EndpointHealth, EndpointInputs, LocalityClient, LocalityEndpoint, LocalityGroup, LocalityPolicy, TlsMode, Tunnel,
};
use istio_api::security::peer_authentication::MutualTlsMode;
use model::{PeerAuthentications, Snapshot};
use registry::{Endpoint, EndpointWorkload, Health, NetworkGateway, NetworkGateways, ServiceKey};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};
use xds_wire::Origins;

/// Which endpoints of a service belong to a cluster, and in which order of preference.
#[derive(Clone, PartialEq, Debug)]
pub struct EndpointSpec {
    /// The cluster, whose name is the resource's name.
    pub cluster: String,
    /// The service.
    pub service: ServiceKey,
    /// The name of its port.
    pub port_name: Arc<str>,
    /// The number of its port.
    pub port_number: PortNumber,
    /// The labels of the subset; empty for the whole service.
    pub subset: BTreeMap<String, String>,
    /// Preferences by locality, if they matter.
    pub locality: Option<LocalityPolicy>,
    /// Whether the cluster ejects outliers, without which failover is off.
    pub outlier_detection: bool,
    /// Whether only endpoints of the client's cluster count.
    pub cluster_local: bool,
    /// Whether only endpoints on the client's node count.
    pub node_local: bool,
    /// Whether endpoints that are not ready are sent, as unhealthy.
    pub unhealthy: bool,
    /// Whether endpoints that are draining are sent, for the sessions that stick to them.
    pub draining: bool,
    /// Whether the proxy resolves names, so that endpoints and gateways of networks may have one.
    pub by_name: bool,
    /// Whether endpoints without mutual TLS are left out.
    pub mutual_tls_only: bool,
    /// Whether endpoints that can are called over the mesh's mutual TLS.
    pub mutual_tls: bool,
    /// The objects behind the cluster.
    pub origins: Vec<ObjectRef>,
}

/// What of a client its endpoints depend on; equal for all clients where nothing matters.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct EndpointClient {
    /// Where it runs.
    pub locality: Locality,
    /// Its labels, for failover priorities.
    pub labels: Labels,
    /// Its cluster, for services that stay within one.
    pub cluster: ClusterId,
    /// Its network, where there are gateways between networks.
    pub network: NetworkId,
    /// The only networks whose endpoints it wants; none is all.
    pub network_view: Vec<NetworkId>,
    /// Whether it calls endpoints through HBONE that take it.
    pub hbone: bool,
    /// Its node, for services that stay on one or prefer it.
    pub node: Arc<str>,
}

impl EndpointClient {
    /// Keeps only what the cluster looks at.
    pub fn of(spec: &EndpointSpec, class: &ClassKey) -> Self {
        let mut out = Self::whole(class);
        if !spec.cluster_local && spec.locality.is_none() {
            out.cluster = ClusterId::default();
        }
        if !spec.node_local && spec.locality.is_none() {
            out.node = Arc::default();
        }
        if spec.locality.is_none() {
            (out.locality, out.labels) = (Locality::default(), Labels::default());
        }
        out
    }

    /// Keeps everything, for endpoints of more than one cluster.
    pub fn whole(class: &ClassKey) -> Self {
        Self {
            locality: class.locality.clone(),
            labels: class.labels.clone(),
            cluster: class.cluster.clone(),
            network: class.network.clone(),
            network_view: class.network_view.clone(),
            hbone: class.hbone,
            node: class.node.clone(),
        }
    }

    /// Whether the endpoint's network is among those that it wants to see.
    fn sees(&self, network: &NetworkId) -> bool {
        self.network_view.is_empty() || network.as_str().is_empty() || self.network_view.contains(network)
    }

    /// Whether it reaches the network without a gateway, as far as anybody knows.
    fn is_in(&self, network: &NetworkId) -> bool {
        self.network.as_str().is_empty() || network.as_str().is_empty() || self.network == *network
    }
}

/// What endpoints depend on beside themselves: equal for all clusters.
pub struct Surroundings<'a> {
    /// The gateways of networks.
    pub gateways: &'a NetworkGateways,
    /// Which workloads take mutual TLS.
    pub peer_authentications: &'a PeerAuthentications,
}

impl<'a> Surroundings<'a> {
    /// Those of a snapshot.
    pub fn of(snapshot: &'a Snapshot) -> Self {
        Self { gateways: &snapshot.network_gateways, peer_authentications: &snapshot.peer_authentications }
    }

    /// Whether clients call the endpoint over mutual TLS, if they do at all: neither by its proxy nor by its policy is it
    /// out of the question.
    pub(super) fn takes_mutual_tls(&self, endpoint: &Endpoint) -> bool {
        let workload = &endpoint.workload;
        workload.mutual_tls
            && self.peer_authentications.mode(&workload.namespace, &workload.labels, endpoint.port) != MutualTlsMode::Disable
    }
}

/// The encoded ClusterLoadAssignment.
pub fn build(spec: &EndpointSpec, endpoints: &[Endpoint], client: &EndpointClient, around: &Surroundings<'_>) -> (Bytes, Origins) {
    let groups = groups(spec, endpoints, client, around);
    (endpoint::cluster_load_assignment(&spec.cluster, &groups), Arc::from(spec.origins.clone()))
}

/// The endpoints by locality, in the client's order of preference.
pub fn groups(spec: &EndpointSpec, endpoints: &[Endpoint], client: &EndpointClient, around: &Surroundings<'_>) -> Vec<LocalityGroup> {
    let members = endpoints.iter().filter(|endpoint| belongs(spec, endpoint, client, around));
    let groups = if around.gateways.is_empty() {
        endpoint::group_by_locality(members.map(|endpoint| {
            let tls = spec.mutual_tls && around.takes_mutual_tls(endpoint);
            (endpoint.workload.locality.clone(), encode(endpoint, tls, client.hbone, 1))
        }))
    } else {
        across_networks(spec, members, client, around)
    };
    let Some(policy) = &spec.locality else { return groups };
    let labels = with_topology(&client.labels, &client.locality, &client.network, (&client.cluster, &client.node));
    let client = LocalityClient { locality: &client.locality, labels: &labels };
    endpoint::apply_locality_policy(&client, policy, spec.outlier_detection, groups)
}

/// Endpoints of other networks are reached through their network's gateways, which stand in their place with their weight;
/// those that do not take mutual TLS cannot be, because a gateway goes by the server name (Istio's
/// `EndpointsByNetworkFilter`).
fn across_networks<'a>(
    spec: &EndpointSpec,
    members: impl Iterator<Item = &'a Endpoint>,
    client: &EndpointClient,
    around: &Surroundings<'_>,
) -> Vec<LocalityGroup> {
    let scale = around.gateways.weight_scale(spec.by_name);
    let mut weights: BTreeMap<Locality, BTreeMap<&NetworkGateway, u32>> = BTreeMap::new();
    let mut reached = Vec::new();
    for endpoint in members {
        let workload = &endpoint.workload;
        let gateways = weights.entry(workload.locality.clone()).or_default();
        let ways = around.gateways.select(&workload.network, &workload.cluster, spec.by_name);
        let tls = spec.mutual_tls && around.takes_mutual_tls(endpoint);
        if client.is_in(&workload.network) || ways.is_empty() {
            if !endpoint.address.is_empty() {
                reached.push((workload.locality.clone(), encode(endpoint, tls, client.hbone, scale)));
            }
        } else if tls {
            let share = endpoint.weight.max(1).saturating_mul(scale) / u32::try_from(ways.len()).unwrap_or(1).max(1);
            for way in ways {
                let weight = gateways.entry(way).or_default();
                *weight = weight.saturating_add(share);
            }
        }
    }
    for (locality, gateways) in &weights {
        reached.extend(gateways.iter().map(|(gateway, weight)| (locality.clone(), encode_gateway(gateway, *weight))));
    }
    let mut groups = endpoint::group_by_locality(reached);
    for locality in weights.into_keys() {
        // A locality none of whose endpoints can be reached stays listed, as in Istio.
        if groups.iter().all(|group| group.locality != locality) {
            groups.push(LocalityGroup { locality, weight: 0, priority: 0, endpoints: Vec::new() });
        }
    }
    groups.sort_by(|a, b| a.locality.cmp(&b.locality));
    groups
}

/// The gateway of a network in place of the endpoints behind it: over mutual TLS, whose server name tells it where to go.
fn encode_gateway(gateway: &NetworkGateway, weight: u32) -> LocalityEndpoint {
    let address = Address::parse(&gateway.address);
    let inputs = EndpointInputs {
        address: &address,
        port: gateway.port,
        additional_addresses: &[],
        health: EndpointHealth::Unknown,
        weight,
        tls_mode: TlsMode::Istio,
        workload: &format!(";;;;{}", gateway.cluster),
        tunnel: None,
    };
    LocalityEndpoint {
        encoded: endpoint::encode_lb_endpoint(&inputs),
        weight: weight.max(1),
        labels: with_topology(&Labels::default(), &Locality::default(), &gateway.network, (&gateway.cluster, "")),
    }
}

/// On a pod: it is on its way out, whatever its readiness says.
const DRAINING_LABEL: &str = "istio.io/draining";

fn is_draining(endpoint: &Endpoint) -> bool {
    endpoint.health == Health::Draining || endpoint.workload.labels.get(DRAINING_LABEL).is_some_and(|value| !value.is_empty())
}

fn belongs(spec: &EndpointSpec, endpoint: &Endpoint, client: &EndpointClient, around: &Surroundings<'_>) -> bool {
    let workload = &endpoint.workload;
    let wanted =
        endpoint.serves(&spec.port_name, spec.port_number) && workload.labels.contain(&spec.subset) && client.sees(&workload.network);
    let near = (!spec.cluster_local || workload.cluster == client.cluster) && (!spec.node_local || workload.node == client.node);
    let known = !endpoint.address.is_empty() || !around.gateways.is_empty();
    let usable = (spec.unhealthy || endpoint.health != Health::Unhealthy) && (spec.draining || !is_draining(endpoint));
    wanted && near && known && usable && (!spec.mutual_tls_only || around.takes_mutual_tls(endpoint))
}

/// One endpoint in its wire form.
pub(super) fn encode(endpoint: &Endpoint, mutual_tls: bool, hbone: bool, scale: u32) -> LocalityEndpoint {
    let workload = &endpoint.workload;
    let text = metadata(workload);
    let weight = endpoint.weight.max(1).saturating_mul(scale);
    let tunnel = tunnel(endpoint).filter(|_| hbone);
    let inputs = EndpointInputs {
        address: &endpoint.address,
        port: endpoint.port,
        additional_addresses: endpoint.additional_addresses(),
        health: match endpoint.health {
            _ if is_draining(endpoint) => EndpointHealth::Draining,
            Health::Unknown => EndpointHealth::Unknown,
            Health::Healthy => EndpointHealth::Healthy,
            Health::Unhealthy => EndpointHealth::Unhealthy,
            Health::Draining => EndpointHealth::Draining,
        },
        weight,
        tls_mode: if mutual_tls { TlsMode::Istio } else { TlsMode::Disabled },
        workload: &text,
        tunnel: tunnel.as_ref(),
    };
    LocalityEndpoint {
        encoded: endpoint::encode_lb_endpoint(&inputs),
        weight,
        labels: with_topology(&workload.labels, &workload.locality, &workload.network, (&workload.cluster, &workload.node)),
    }
}

/// Endpoints that say that they take HBONE are called through the internal listener that speaks it.
fn tunnel(endpoint: &Endpoint) -> Option<Tunnel> {
    let takes = endpoint.workload.labels.get("networking.istio.io/tunnel")?;
    let target = match endpoint.address {
        Address::Ip(address) => SocketAddr::new(address, endpoint.port).to_string(),
        _ => return None,
    };
    takes.split(',').any(|kind| kind == "http").then_some(Tunnel { target, waypoint: None, transport_socket_match: true })
}

/// `<workload>;<namespace>;<canonical name>;<canonical revision>;<cluster>`
fn metadata(workload: &EndpointWorkload) -> String {
    let (name, namespace, cluster) = (&workload.name, &workload.namespace, &workload.cluster);
    format!("{name};{namespace};{};{};{cluster}", workload.canonical_name(), workload.canonical_revision())
}

/// The labels with those that Istio fills in for failover priorities.
fn with_topology(labels: &Labels, locality: &Locality, network: &NetworkId, (cluster, node): (&ClusterId, &str)) -> Labels {
    let pairs = [
        ("topology.kubernetes.io/region", &*locality.region),
        ("topology.kubernetes.io/zone", &*locality.zone),
        ("topology.istio.io/subzone", &*locality.subzone),
        ("topology.istio.io/network", network.as_str()),
        ("topology.istio.io/cluster", cluster.as_str()),
        ("kubernetes.io/hostname", node),
    ];
    let mut all = labels.to_map();
    all.extend(pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_string(), value.to_string())));
    Labels::from(all)
}
