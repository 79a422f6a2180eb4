//! The endpoints of one cluster, as one class sees them.

use crate::class::ClassKey;
use base::{ClusterId, Labels, Locality, NetworkId, ObjectRef, PortNumber};
use bytes::Bytes;
use envoy::endpoint::{self, EndpointHealth, EndpointInputs, LocalityClient, LocalityEndpoint, LocalityGroup, LocalityPolicy, TlsMode};
use registry::{Endpoint, EndpointWorkload, Health, ServiceKey};
use std::{collections::BTreeMap, sync::Arc};
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
    /// Its node, for services that stay on one or prefer it.
    pub node: Arc<str>,
}

impl EndpointClient {
    /// Keeps only what the cluster looks at.
    pub fn of(spec: &EndpointSpec, class: &ClassKey) -> Self {
        let cluster = if spec.cluster_local { class.cluster.clone() } else { ClusterId::default() };
        let node = if spec.node_local || spec.locality.is_some() { class.node.clone() } else { Arc::default() };
        match spec.locality {
            Some(_) => Self { locality: class.locality.clone(), labels: class.labels.clone(), cluster, node },
            None => Self { cluster, node, ..Self::default() },
        }
    }

    /// Keeps everything, for endpoints of more than one cluster.
    pub fn whole(class: &ClassKey) -> Self {
        Self { locality: class.locality.clone(), labels: class.labels.clone(), cluster: class.cluster.clone(), node: class.node.clone() }
    }
}

/// The encoded ClusterLoadAssignment.
pub fn build(spec: &EndpointSpec, endpoints: &[Endpoint], client: &EndpointClient) -> (Bytes, Origins) {
    let groups = groups(spec, endpoints, client);
    (endpoint::cluster_load_assignment(&spec.cluster, &groups), Arc::from(spec.origins.clone()))
}

/// The endpoints by locality, in the client's order of preference.
pub fn groups(spec: &EndpointSpec, endpoints: &[Endpoint], client: &EndpointClient) -> Vec<LocalityGroup> {
    let members = endpoints.iter().filter(|endpoint| belongs(spec, endpoint, client));
    let encoded = members.map(|endpoint| (endpoint.workload.locality.clone(), encode(endpoint, spec.mutual_tls)));
    let groups = endpoint::group_by_locality(encoded);
    let Some(policy) = &spec.locality else { return groups };
    let labels = with_topology(&client.labels, &client.locality, &NetworkId::default(), &client.node);
    let client = LocalityClient { locality: &client.locality, labels: &labels };
    endpoint::apply_locality_policy(&client, policy, spec.outlier_detection, groups)
}

fn belongs(spec: &EndpointSpec, endpoint: &Endpoint, client: &EndpointClient) -> bool {
    let wanted = endpoint.serves(&spec.port_name, spec.port_number) && endpoint.workload.labels.contain(&spec.subset);
    let near =
        (!spec.cluster_local || endpoint.workload.cluster == client.cluster) && (!spec.node_local || endpoint.workload.node == client.node);
    wanted && near && (!spec.mutual_tls_only || endpoint.workload.mutual_tls) && (spec.unhealthy || endpoint.health != Health::Unhealthy)
}

/// One endpoint in its wire form.
fn encode(endpoint: &Endpoint, mutual_tls: bool) -> LocalityEndpoint {
    let workload = &endpoint.workload;
    let text = metadata(workload);
    let inputs = EndpointInputs {
        address: &endpoint.address,
        port: endpoint.port,
        additional_addresses: &[],
        health: match endpoint.health {
            Health::Unknown => EndpointHealth::Unknown,
            Health::Healthy => EndpointHealth::Healthy,
            Health::Unhealthy => EndpointHealth::Unhealthy,
            Health::Draining => EndpointHealth::Draining,
        },
        weight: endpoint.weight,
        tls_mode: if workload.mutual_tls && mutual_tls { TlsMode::Istio } else { TlsMode::Disabled },
        workload: &text,
        tunnel: None,
    };
    LocalityEndpoint {
        encoded: endpoint::encode_lb_endpoint(&inputs),
        weight: endpoint.weight.max(1),
        labels: with_topology(&workload.labels, &workload.locality, &workload.network, &workload.node),
    }
}

/// `<workload>;<namespace>;<canonical name>;<canonical revision>;<cluster>`
fn metadata(workload: &EndpointWorkload) -> String {
    let (name, namespace, cluster) = (&workload.name, &workload.namespace, &workload.cluster);
    format!("{name};{namespace};{};{};{cluster}", workload.canonical_name(), workload.canonical_revision())
}

/// The labels with those that Istio fills in for failover priorities.
fn with_topology(labels: &Labels, locality: &Locality, network: &NetworkId, node: &str) -> Labels {
    let pairs = [
        ("topology.kubernetes.io/region", &*locality.region),
        ("topology.kubernetes.io/zone", &*locality.zone),
        ("topology.istio.io/subzone", &*locality.subzone),
        ("topology.istio.io/network", network.as_str()),
        ("kubernetes.io/hostname", node),
    ];
    let mut all: BTreeMap<String, String> = (*labels.0).clone();
    all.extend(pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_string(), value.to_string())));
    Labels::from(all)
}
