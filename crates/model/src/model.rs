//! The way of a turn through the model: which parts of the snapshot the changes touch, and those parts built again.

use crate::{
    Aliases, AttachedPolicies, ClusterLocal, Credential, DestinationRules, PeerAuthentications, Snapshot, VirtualService, VirtualServices,
    ingress::Converted,
};
use base::Namespace;
use config::{Key, Store, StoreChanges};
use incremental::{Cx, Table};
use istio_api::networking::destination_rule::{LoadBalancerSettings, TrafficPolicy};
use istio_api::networking::virtual_service as api;
use istio_api::{Object, Resource};
use registry::{Registry, RegistryChanges};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The snapshot, and what is kept to make the next one cheaply.
#[derive(Clone, Default)]
pub struct Model {
    snapshot: Snapshot,
    resolved: Table<Key, VirtualService>,
    /// What Ingresses become.
    converted: Converted,
}

impl Model {
    /// The newest snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Brings the snapshot up to date. Cost: the parts whose kinds changed are built again, each in the size of its
    /// kind; an endpoint costs nothing but the clone of a table.
    pub fn advance(&mut self, store: &Store, changes: &StoreChanges, registry: &Registry, services: &RegistryChanges) {
        let cx = &mut Cx::default();
        let next = &mut self.snapshot;
        next.domain = registry.domain().clone();
        next.endpoints = registry.endpoints.clone();
        if !services.services.is_empty() {
            next.services = registry.services.clone();
            let mut by_age: Vec<_> = registry.services.iter(cx).map(|(_, service)| service.clone()).collect();
            by_age.sort_by(|a, b| a.age_order().cmp(&b.age_order()));
            keep_or_set(&mut next.aliases, Aliases::build(&by_age));
            next.services_by_age = Arc::new(by_age);
        }
        if changes.mesh {
            next.mesh = store.mesh.clone();
            next.networks = store.networks.clone();
            next.cluster_local = Arc::new(ClusterLocal::build(&next.mesh, next.domain.as_str()));
        }
        next.features = store.features.clone();
        next.network_gateways = registry.network_gateways().clone();
        for key in &changes.secrets.0 {
            next.credentials.set(key.clone(), store.secrets.get(cx, key).map(Credential::read));
        }
        next.reference_grants = store.reference_grants.clone();
        let converted = self.converted.advance(store, changes, next, services);
        if changes.mesh || converted || !changes.virtual_services.is_empty() {
            Self::advance_virtual_services(next, &mut self.resolved, &self.converted, store, changes);
        }
        if changes.mesh || !changes.destination_rules.is_empty() {
            let rows = by_age(&store.destination_rules);
            let export_to = &store.mesh.default_destination_rule_export_to;
            let rules = DestinationRules::build(rows.iter(), next.domain.as_str(), export_to, &next.destination_rules);
            next.destination_rules = Arc::new(rules);
        }
        if converted || !changes.gateways.is_empty() {
            let mut gateways = by_age(&store.gateways);
            gateways.extend(self.converted.gateways.iter().cloned());
            sort_by_age(&mut gateways);
            next.gateways = Arc::new(gateways);
            let passing = next.gateways.iter().filter(|gateway| crate::gateway::passes_by_name(&gateway.spec));
            next.passing_gateways = Arc::new(passing.cloned().collect());
        }
        if !changes.sidecars.is_empty() {
            let mut sidecars: BTreeMap<Namespace, Vec<_>> = BTreeMap::new();
            for object in by_age(&store.sidecars) {
                sidecars.entry(object.metadata.namespace.clone()).or_default().push(object);
            }
            next.sidecars = Arc::new(sidecars);
        }
        if changes.mesh || !changes.peer_authentications.is_empty() {
            let rows = by_age(&store.peer_authentications);
            next.peer_authentications = Arc::new(PeerAuthentications::build(&next.root_namespace(), rows.iter()));
        }
        if changes.mesh || !changes.authorization_policies.is_empty() {
            let rows = by_age(&store.authorization_policies);
            next.authorization_policies = Arc::new(AttachedPolicies::build(&next.root_namespace(), rows.iter()));
        }
        if changes.mesh || !changes.request_authentications.is_empty() {
            let rows = by_age(&store.request_authentications);
            next.request_authentications = Arc::new(AttachedPolicies::build(&next.root_namespace(), rows.iter()));
        }
        next.jwks = store.jwks.clone();
        let selecting = [
            &changes.virtual_services,
            &changes.destination_rules,
            &changes.gateways,
            &changes.sidecars,
            &changes.peer_authentications,
            &changes.authorization_policies,
            &changes.request_authentications,
        ];
        if changes.mesh || converted || !services.services.is_empty() || selecting.iter().any(|changed| !changed.is_empty()) {
            let labels = selecting_labels(next);
            keep_or_set(&mut next.selecting_labels, labels);
            next.locality_matters = locality_matters(next);
            next.node_matters = node_matters(next);
        }
    }

    /// Resolves the objects that changed; the others keep their rows.
    fn advance_virtual_services(
        next: &mut Snapshot,
        resolved: &mut Table<Key, VirtualService>,
        converted: &Converted,
        store: &Store,
        changes: &StoreChanges,
    ) {
        let cx = &mut Cx::default();
        let export_to = &store.mesh.default_virtual_service_export_to;
        let mut dirty = changes.virtual_services.0.clone();
        if changes.mesh {
            dirty.extend(store.virtual_services.iter(cx).map(|(key, _)| key.clone()));
        }
        for key in dirty {
            let object: Option<&Arc<Object<api::VirtualService>>> = store.virtual_services.get(cx, &key);
            let row = object.map(|object| VirtualService::resolve(object, next.domain.as_str(), export_to));
            resolved.set(key, row);
        }
        let mut rows: Vec<_> = resolved.iter(cx).map(|(_, row)| row.clone()).chain(converted.virtual_services.iter().cloned()).collect();
        rows.sort_by(|a, b| (a.created, &a.name, &a.namespace).cmp(&(b.created, &b.name, &b.namespace)));
        // Anew after any change of the kind: a delegate does not know its roots, and the sorting costs as much.
        crate::delegate::merge(&mut rows);
        keep_merged(&mut rows, &next.virtual_services.all);
        next.virtual_services = Arc::new(VirtualServices::new(rows));
    }
}

/// An equal value keeps its allocation: later stages compare by it.
fn keep_or_set<T: PartialEq>(place: &mut Arc<T>, value: T) {
    if **place != value {
        *place = Arc::new(value);
    }
}

/// Gives those that were merged with delegates the allocation that they had, if they are equal: later stages compare by it.
fn keep_merged(rows: &mut [Arc<VirtualService>], previous: &[Arc<VirtualService>]) {
    let merged = |vs: &&Arc<VirtualService>| !vs.delegates.is_empty() || !vs.findings.is_empty();
    let known: BTreeMap<_, _> = previous.iter().filter(merged).map(|vs| ((&vs.namespace, &vs.name), vs)).collect();
    for row in rows.iter_mut().filter(|row| merged(&&**row)) {
        if let Some(old) = known.get(&(&row.namespace, &row.name)).filter(|old| ***old == *row) {
            *row = Arc::clone(old);
        }
    }
}

/// The objects of a kind, the oldest first; ties by name and namespace (Istio's `sortConfigByCreationTime`).
fn by_age<T: Resource>(table: &Table<Key, Object<T>>) -> Vec<Arc<Object<T>>> {
    let mut rows: Vec<_> = table.iter(&mut Cx::default()).map(|(_, object)| object.clone()).collect();
    sort_by_age(&mut rows);
    rows
}

fn sort_by_age<T: Resource>(rows: &mut [Arc<Object<T>>]) {
    rows.sort_by(|a, b| {
        let key = |o: &Object<T>| (o.metadata.creation_timestamp, o.metadata.name.clone(), o.metadata.namespace.clone());
        key(a).cmp(&key(b))
    });
}

/// Failover needs outlier detection; everything else that looks at localities says so.
fn locality_matters(snapshot: &Snapshot) -> bool {
    let mesh = &snapshot.mesh;
    let of_mesh = mesh.locality_lb_setting.as_ref().is_some_and(|setting| !setting.distribute.is_empty())
        || mesh.zone_aware_lb_setting.as_ref().is_some_and(|setting| setting.enabled != Some(false))
        || mesh.default_traffic_policy.as_ref().is_some_and(|policy| policy.outlier_detection.is_some());
    let looks = |lb: &LoadBalancerSettings| lb.locality_lb_setting.is_some() || lb.zone_aware_lb_setting.is_some();
    let of_policy = |policy: &TrafficPolicy| {
        let settings = policy.port_level_settings.iter();
        policy.outlier_detection.is_some()
            || policy.load_balancer.as_ref().is_some_and(looks)
            || settings.clone().any(|port| port.outlier_detection.is_some())
            || settings.filter_map(|port| port.load_balancer.as_ref()).any(looks)
    };
    let of_rule = |rule: &Arc<crate::MergedRule>| {
        let subsets = rule.spec.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
        rule.spec.traffic_policy.iter().chain(subsets).any(of_policy)
    };
    of_mesh
        || snapshot.services_by_age.iter().any(|service| service.traffic_distribution.is_some())
        || snapshot.destination_rules.iter().any(of_rule)
}

/// Whether endpoints can depend on the client's node: a Service that stays on it or prefers it, or a failover priority that
/// names it.
fn node_matters(snapshot: &Snapshot) -> bool {
    let near = |service: &Arc<registry::Service>| service.node_local || service.traffic_distribution.as_deref() == Some("PreferSameNode");
    let by_node =
        |policy: &TrafficPolicy| policy.load_balancer.iter().flat_map(failover_labels).any(|key| key.starts_with("kubernetes.io/hostname"));
    let of_mesh = snapshot.mesh.zone_aware_lb_setting.iter().flat_map(|setting| &setting.failover_priority);
    let of_mesh = of_mesh.chain(snapshot.mesh.locality_lb_setting.iter().flat_map(|setting| &setting.failover_priority));
    snapshot.services_by_age.iter().any(near)
        || of_mesh.into_iter().any(|key| key.starts_with("kubernetes.io/hostname"))
        || snapshot.destination_rules.iter().any(|rule| {
            let subsets = rule.spec.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
            rule.spec.traffic_policy.iter().chain(subsets).any(by_node)
        })
}

/// The labels by which endpoints are preferred.
fn failover_labels(settings: &LoadBalancerSettings) -> impl Iterator<Item = &String> {
    let by_distance = settings.locality_lb_setting.iter().flat_map(|setting| &setting.failover_priority);
    by_distance.chain(settings.zone_aware_lb_setting.iter().flat_map(|setting| &setting.failover_priority))
}

/// Of `key` or `key=value`.
fn key_of(label: &str) -> String {
    label.split('=').next().unwrap_or_default().to_string()
}

/// The keys of labels by which any object tells proxies apart.
fn selecting_labels(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for vs in &snapshot.virtual_services.all {
        let spec = &vs.spec;
        keys.extend(spec.http.iter().flat_map(|http| &http.matches).flat_map(|m| m.source_labels.keys().cloned()));
        keys.extend(spec.tls.iter().flat_map(|tls| &tls.matches).flat_map(|m| m.source_labels.keys().cloned()));
        keys.extend(spec.tcp.iter().flat_map(|tcp| &tcp.matches).flat_map(|m| m.source_labels.keys().cloned()));
    }
    for rule in snapshot.destination_rules.iter() {
        keys.extend(rule.spec.workload_selector.iter().flat_map(|selector| selector.match_labels.keys().cloned()));
        let policies = rule.spec.traffic_policy.iter().chain(rule.spec.subsets.iter().filter_map(|s| s.traffic_policy.as_ref()));
        let settings = policies.flat_map(|policy| {
            let of_ports = policy.port_level_settings.iter().filter_map(|port| port.load_balancer.as_ref());
            policy.load_balancer.iter().chain(of_ports)
        });
        keys.extend(settings.flat_map(failover_labels).map(|key| key_of(key)));
    }
    let mesh = &snapshot.mesh;
    keys.extend(mesh.locality_lb_setting.iter().flat_map(|setting| &setting.failover_priority).map(|key| key_of(key)));
    keys.extend(mesh.zone_aware_lb_setting.iter().flat_map(|setting| &setting.failover_priority).map(|key| key_of(key)));
    for object in snapshot.sidecars.values().flatten() {
        keys.extend(object.spec.workload_selector.iter().flat_map(|selector| selector.labels.keys().cloned()));
    }
    for object in snapshot.gateways.iter() {
        keys.extend(object.spec.selector.keys().cloned());
    }
    keys.extend(snapshot.peer_authentications.selecting_labels());
    keys.extend(snapshot.authorization_policies.selecting_labels());
    keys.extend(snapshot.request_authentications.selecting_labels());
    keys
}
