//! Where Ingresses are reached, as their status is to say it.

use crate::pipeline::Published;
use base::{ClusterId, Namespace};
use config::{Key, Store};
use incremental::Cx;
use kube_source::status::{DesiredIngresses, LoadBalancerAddress};
use model::ingress::{GATEWAY_NAMESPACE, is_served, selector};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What is wanted, once that is known.
type Wanted = watch::Receiver<Option<Arc<DesiredIngresses>>>;

/// Says what is wanted once everything has synced, and whenever it changes; and whether there is any Ingress at all.
pub fn follow(mut readable: watch::Receiver<Arc<Published>>, cluster: ClusterId) -> (Wanted, watch::Receiver<bool>) {
    let (out, wanted) = watch::channel(None);
    let (any_out, any) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let published = readable.borrow_and_update().clone();
            if published.synced {
                let now = desired(&published.store, &cluster);
                let found = !now.ingresses.is_empty();
                any_out.send_if_modified(|known| std::mem::replace(known, found) != found);
                out.send_if_modified(|known: &mut Option<Arc<DesiredIngresses>>| {
                    let differs = known.as_deref() != Some(&now);
                    if differs {
                        *known = Some(Arc::new(now));
                    }
                    differs
                });
                tokio::time::sleep(PAUSE).await;
            }
            if readable.changed().await.is_err() {
                return;
            }
        }
    });
    (wanted, any)
}

/// The addresses of the gateway, for every Ingress of the cluster that it serves.
fn desired(store: &Store, cluster: &ClusterId) -> DesiredIngresses {
    let cx = &mut Cx::default();
    let served = store.ingresses.iter(cx).filter(|(key, ingress)| key.cluster == *cluster && is_served(store, ingress));
    let ingresses = served.map(|(key, ingress)| {
        let created = ingress.metadata.creation_timestamp.as_ref().map(|time| format!("{time:?}"));
        ((key.namespace.to_string(), key.name.to_string()), created)
    });
    let ingresses: BTreeMap<_, _> = ingresses.collect();
    let addresses = if ingresses.is_empty() { BTreeSet::new() } else { addresses(store, cluster) };
    DesiredIngresses { ingresses, addresses: addresses.into_iter().collect() }
}

/// Of the Service that the mesh configuration names; without a name, of the nodes that the gateway's Pods run on (Istio's
/// `runningAddresses`).
fn addresses(store: &Store, cluster: &ClusterId) -> BTreeSet<LoadBalancerAddress> {
    let cx = &mut Cx::default();
    let namespace = Namespace::new(GATEWAY_NAMESPACE);
    let named = store.mesh.ingress_service.as_str();
    if named.is_empty() {
        return of_nodes(store, cluster, &namespace);
    }
    let key = Key { namespace, name: Arc::from(named), cluster: cluster.clone() };
    let Some(service) = store.services.get(cx, &key) else { return BTreeSet::new() };
    if service.spec.service_type == "ExternalName" {
        return BTreeSet::from([LoadBalancerAddress::new(&service.spec.external_name)]);
    }
    let balanced = service.status.load_balancer.ingress.iter();
    let balanced = balanced.map(|entry| if entry.ip.is_empty() { &entry.hostname } else { &entry.ip });
    let all = balanced.chain(&service.spec.external_ips).filter(|address| !address.is_empty());
    all.map(|address| LoadBalancerAddress::new(address)).collect()
}

fn of_nodes(store: &Store, cluster: &ClusterId, namespace: &Namespace) -> BTreeSet<LoadBalancerAddress> {
    let cx = &mut Cx::default();
    let labels = selector(&store.mesh);
    let pods = store.pods.iter(cx).filter(|(key, pod)| {
        key.cluster == *cluster && key.namespace == *namespace && pod.status.phase == "Running" && pod.metadata.labels.contain(&labels)
    });
    let nodes: BTreeSet<String> = pods.map(|(_, pod)| pod.spec.node_name.clone()).collect();
    let cx = &mut Cx::default();
    let nodes = store.nodes.iter(cx).filter(|(key, _)| key.cluster == *cluster && nodes.contains(&*key.name));
    let external = nodes.flat_map(|(_, node)| node.status.addresses.iter().filter(|address| address.address_type == "ExternalIP"));
    external.filter(|address| !address.address.is_empty()).map(|address| LoadBalancerAddress::new(&address.address)).collect()
}
