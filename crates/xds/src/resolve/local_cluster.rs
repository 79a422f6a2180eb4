//! The endpoints of a proxy's own workload, by whose zones Envoy decides how much of its traffic stays in its own
//! (`cluster_manager.local_cluster_name` of the bootstrap).

use super::{
    View,
    endpoint::{self, Surroundings},
};
use crate::class::{OwnWorkload, REVISION_LABELS};
use crate::generate::Built;
use envoy::endpoint::{cluster_load_assignment, group_by_locality};
use registry::{Endpoint, EndpointWorkload, ServiceKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The name that Istio's bootstrap has for it.
pub const LOCAL_CLUSTER: &str = "local_cluster";

/// The endpoints of the services that the proxy serves, as far as they are of its workload, revision and region; each
/// address once, whatever ports it serves. None for proxies that do not ask for it.
pub fn assignment(view: &View<'_>) -> Vec<Built> {
    let Some(own) = &view.class.own_workload else { return Vec::new() };
    let services: BTreeSet<&ServiceKey> = view.class.targets.iter().map(|target| &target.service).collect();
    let mut origins = Vec::new();
    let mut members: BTreeMap<_, &Endpoint> = BTreeMap::new();
    for key in services {
        origins.extend(view.service_of(key).map(|service| service.origin.clone()));
        for endpoint in view.endpoints_of(key).iter().filter(|endpoint| is_own(own, &endpoint.workload)) {
            members.entry(&endpoint.address).or_insert(endpoint);
        }
    }
    let around = Surroundings::of(view.snapshot);
    let groups = group_by_locality(members.into_values().map(|member| {
        let locality = member.workload.locality.clone();
        (locality, endpoint::encode(member, around.takes_mutual_tls(member), false, 1))
    }));
    vec![(LOCAL_CLUSTER.to_owned(), cluster_load_assignment(LOCAL_CLUSTER, &groups), Arc::from(origins))]
}

fn is_own(own: &OwnWorkload, other: &EndpointWorkload) -> bool {
    let same = |(key, value): (&str, &Arc<str>)| other.labels.get(key).unwrap_or_default() == &**value;
    (own.name.is_empty() || own.name == other.name)
        && own.region == other.locality.region
        && REVISION_LABELS.into_iter().zip(&own.revision).all(same)
}
