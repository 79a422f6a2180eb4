//! What the registry reads off a Pod or a WorkloadEntry: the workload behind an endpoint.

use crate::{EndpointWorkload, network::network};
use base::{ClusterId, Labels, Locality, NetworkId};
use config::{Key, Store};
use incremental::Cx;
use istio_api::kubernetes::pod::{Pod, PodStatus};
use istio_api::networking::workload_entry::WorkloadEntry;
use istio_api::{Metadata, Object};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// The label by which the injector says that the workload's proxy takes mutual TLS.
const TLS_MODE: &str = "security.istio.io/tlsMode";

/// The label by which a user gives a workload another name.
const WORKLOAD_NAME: &str = "service.istio.io/workload-name";

/// The workload of a pod.
pub fn of_pod(store: &Store, cluster: &ClusterId, pod: &Object<Pod>) -> EndpointWorkload {
    let labels = pod.metadata.labels.clone();
    let service_account = if pod.spec.service_account_name.is_empty() { "default" } else { &pod.spec.service_account_name };
    EndpointWorkload {
        locality: locality(store, cluster, &labels, &pod.spec.node_name),
        network: network(store, cluster, &labels, pod.status.pod_ip.parse().ok()),
        cluster: cluster.clone(),
        namespace: pod.metadata.namespace.clone(),
        name: owner(&pod.metadata),
        service_account: Arc::from(service_account),
        node: Arc::from(pod.spec.node_name.as_str()),
        addresses: if store.features.dual_stack { addresses(&pod.status) } else { Box::default() },
        mutual_tls: labels.get(TLS_MODE) == Some("istio"),
        hostname: if pod.spec.subdomain.is_empty() { Arc::default() } else { Arc::from(pod.spec.hostname.as_str()) },
        labels,
    }
}

/// All addresses of a pod that has several.
fn addresses(status: &PodStatus) -> Box<[IpAddr]> {
    let all: Vec<IpAddr> = status.pod_ips.iter().filter_map(|address| address.ip.parse().ok()).collect();
    if all.len() > 1 { all.into() } else { Box::default() }
}

/// The workload of a WorkloadEntry, or of an endpoint written into a ServiceEntry. Labels of the object win over those
/// of its `spec`.
pub fn of_entry(store: &Store, cluster: &ClusterId, metadata: &Metadata, entry: &WorkloadEntry) -> EndpointWorkload {
    let mut labels: BTreeMap<String, String> = entry.labels.clone();
    labels.extend(metadata.labels.to_map());
    let labels = Labels::from(labels);
    let locality = match labels.get("istio-locality") {
        Some(text) if entry.locality.is_empty() => Locality::parse(text),
        _ => Locality::parse(&entry.locality),
    };
    let network = if entry.network.is_empty() {
        network(store, cluster, &labels, entry.address.parse().ok())
    } else {
        NetworkId::new(&entry.network)
    };
    EndpointWorkload {
        locality,
        network,
        cluster: cluster.clone(),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        service_account: Arc::from(entry.service_account.as_str()),
        node: Arc::default(),
        addresses: Box::default(),
        mutual_tls: match labels.get(TLS_MODE) {
            Some(mode) => mode == "istio",
            None => !entry.service_account.is_empty(),
        },
        hostname: Arc::default(),
        labels,
    }
}

/// The label of the workload, else the labels of its node.
fn locality(store: &Store, cluster: &ClusterId, labels: &Labels, node: &str) -> Locality {
    if let Some(text) = labels.get("topology.istio.io/locality").or_else(|| labels.get("istio-locality")) {
        return Locality::parse(text);
    }
    let key = Key { namespace: "".into(), name: Arc::from(node), cluster: cluster.clone() };
    let Some(node) = store.nodes.get(&mut Cx::default(), &key) else {
        return Locality::default();
    };
    let part = |keys: [&str; 2]| Arc::from(keys.into_iter().find_map(|key| node.metadata.labels.get(key)).unwrap_or_default());
    Locality {
        region: part(["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"]),
        zone: part(["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"]),
        subzone: part(["topology.istio.io/subzone", ""]),
    }
}

/// The name of what the user deployed, if its label does not say it: a ReplicaSet stands for its Deployment, a Job for its
/// CronJob, OpenShift's ReplicationController for its DeploymentConfig; a bare pod for itself.
fn owner(metadata: &Metadata) -> Arc<str> {
    if let Some(name) = metadata.labels.get(WORKLOAD_NAME) {
        return Arc::from(name);
    }
    let Some(owner) = metadata.owner_references.first() else {
        return metadata.name.clone();
    };
    let hash = metadata.labels.get("pod-template-hash");
    let deployment = match (owner.kind.as_str(), hash) {
        ("ReplicaSet", Some(hash)) => owner.name.strip_suffix(hash).and_then(|name| name.strip_suffix('-')),
        ("ReplicationController", _) => metadata.labels.get("deploymentconfig"),
        ("Job", _) => {
            owner.name.rsplit_once('-').filter(|(_, run)| run.len() >= 8 && run.bytes().all(|b| b.is_ascii_digit())).map(|(name, _)| name)
        }
        _ => None,
    };
    Arc::from(deployment.unwrap_or(&owner.name))
}
