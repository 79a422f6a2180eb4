//! A class's resources: the rows that it sees, put into its view.

use crate::class::{Class, ClassKey};
use crate::resolve::{self, Scope, View as ClassView, endpoint::{EndpointSpec, Surroundings}};
use crate::rows::{Interner, Rows, Same};
use crate::turn::Statistics;
use istio_api::mesh::MeshConfig;
use model::{MergedGateway, MergedRule, PeerAuthentications, ProxyKind, SidecarScope, Snapshot};
use registry::{Endpoint, NetworkGateways, Service, ServiceKey, ServiceTarget};
use rustc_hash::FxHashMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use xds_wire::{Encoded, ResourceType, Resources, View};

/// The clusters of one service, and what their endpoints are made of.
#[derive(Clone, Default)]
pub struct ServiceClusters {
    /// One for each port, and for each subset of each port.
    pub clusters: Vec<Arc<Encoded>>,
    /// One for each cluster whose endpoints are sent over EDS.
    pub endpoints: Vec<Arc<EndpointSpec>>,
}

/// What the clusters of a service depend on.
type ClusterInputs =
    (Same<Service>, Option<Same<MergedRule>>, Same<MeshConfig>, Vec<String>, resolve::cluster::ClusterTraits, Option<(Same<Vec<Endpoint>>, Around)>);
type ClusterRowKey = (ServiceKey, resolve::cluster::ClusterTraits, Option<base::Namespace>);
type EndpointInputs = (Same<EndpointSpec>, Option<Same<Vec<Endpoint>>>, Around);
/// What endpoints depend on beside themselves.
type Around = (Same<NetworkGateways>, Same<PeerAuthentications>);

/// The rows that are kept between turns.
#[derive(Default)]
pub struct Generator {
    interner: Interner,
    clusters: Rows<ClusterRowKey, ClusterInputs, Arc<ServiceClusters>>,
    endpoints: Rows<(String, resolve::endpoint::EndpointClient), EndpointInputs, Arc<Encoded>>,
    identities: FxHashMap<ServiceKey, Vec<String>>,
    parts: BTreeMap<ClassKey, Part>,
    turn: u64,
    rebuild: Rebuild,
    route_rows: u64,
    listener_rows: u64,
}

/// What a turn that generates classes has to look at again.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Rebuild {
    /// Only rules of routes changed: a part keeps its clusters and endpoints unless it sees other services than before.
    Routes,
    /// Anything may have changed.
    #[default]
    All,
}

/// What many classes share: everything that does not depend on a proxy's own workload.
#[derive(Default)]
struct Part {
    clusters: Resources,
    endpoints: Resources,
    routes: Resources,
    specs: BTreeMap<ServiceKey, Vec<Arc<EndpointSpec>>>,
    /// Of sidecars; kept for the listeners of each class.
    scope: Option<Arc<Scope>>,
    turn: u64,
}

impl Generator {
    /// Adds the work done here.
    pub fn count(&self, statistics: Statistics) -> Statistics {
        Statistics {
            cluster_rows: self.clusters.built,
            endpoint_rows: self.endpoints.built,
            route_rows: self.route_rows,
            listener_rows: self.listener_rows,
            ..statistics
        }
    }

    /// Whether the endpoints carry the same service accounts as those for which clusters were built.
    pub fn same_identities(&self, key: &ServiceKey, endpoints: &[Endpoint]) -> bool {
        self.identities.get(key).is_none_or(|known| *known == identities(endpoints))
    }

    /// Drops the parts and rows that no class uses any more.
    pub fn sweep(&mut self) {
        let turn = self.turn;
        self.parts.retain(|_, part| part.turn == turn);
        // Rows that nobody asked for may still be in use after a turn that keeps clusters.
        if self.rebuild == Rebuild::All {
            self.clusters.sweep();
            self.endpoints.sweep();
        }
        self.interner.sweep();
    }

    /// Begins a turn in which the classes are put together again.
    pub fn begin(&mut self, rebuild: Rebuild) {
        self.turn += 1;
        self.rebuild = rebuild;
    }

    /// Builds the endpoints of the touched services again, once for all classes that share them.
    pub fn endpoints(&mut self, snapshot: &Snapshot, touched: &BTreeSet<ServiceKey>) {
        let keys: Vec<ClassKey> = self.parts.keys().cloned().collect();
        for key in keys {
            let Some(part) = self.parts.get(&key) else { continue };
            let specs: Vec<_> = touched.iter().filter_map(|service| part.specs.get(service)).flatten().cloned().collect();
            let rows: Vec<_> = specs.iter().map(|spec| self.endpoint_row(snapshot, &key, spec)).collect();
            if let Some(part) = self.parts.get_mut(&key) {
                for row in rows {
                    part.endpoints.insert(row);
                }
            }
        }
    }

    /// Gives a class the endpoints of its part; says whether any differ.
    pub fn refresh_endpoints(&self, key: &ClassKey, class: &mut Class, revision: u64) -> bool {
        let Some(part) = self.parts.get(&key.part()) else { return false };
        if class.view.of(ResourceType::Endpoint).same(&part.endpoints) {
            return false;
        }
        let mut view = (*class.view).clone();
        view.revision = revision;
        view.set(ResourceType::Endpoint, part.endpoints.clone());
        class.view = Arc::new(view);
        true
    }

    /// Generates everything that the class sees; rows whose inputs are the same as before are not built again.
    pub fn class(&mut self, snapshot: &Snapshot, key: &ClassKey, class: &mut Class, revision: u64) -> bool {
        let part_key = key.part();
        self.advance_part(snapshot, &part_key);
        let Some(part) = self.parts.get(&part_key) else { return false };
        let shared = [
            (ResourceType::Cluster, part.clusters.clone()),
            (ResourceType::Endpoint, part.endpoints.clone()),
            (ResourceType::Listener, Resources::default()),
            (ResourceType::Route, part.routes.clone()),
            (ResourceType::Secret, Resources::default()),
        ];
        let mut rows = self.own_rows(snapshot, key, part.scope.clone());
        let mut next = View::new(revision);
        let mut changed = false;
        for (kind, shared) in shared {
            let before = class.view.of(kind);
            let after = shared.under(rows.resources.remove(&kind).unwrap_or_default(), before);
            changed |= !before.same(&after);
            next.set(kind, after);
        }
        if changed || class.view.revision == 0 {
            class.view = Arc::new(next);
        }
        changed
    }

    /// What the class does not share: its inbound side and its listeners, or everything of a gateway's servers.
    fn own_rows(&mut self, snapshot: &Snapshot, key: &ClassKey, scope: Option<Arc<Scope>>) -> Collected {
        let scope = scope.unwrap_or_else(|| Arc::new(Scope::Router(MergedGateway::build(snapshot, &key.labels, &targets(key)))));
        let view = ClassView { snapshot, class: key, scope: &scope };
        let mut rows = Collected::default();
        for (name, body, origins) in resolve::inbound::clusters(&view) {
            rows.add(ResourceType::Cluster, self.interner.encode(ResourceType::Cluster, &name, &body, origins));
        }
        match &*scope {
            Scope::Sidecar(sidecar) => self.collect_listeners(&view, sidecar, &mut rows),
            Scope::Router(gateway) => self.collect_router(&view, gateway, &mut rows),
        }
        rows
    }

    /// Puts the shared part together, once in a turn.
    fn advance_part(&mut self, snapshot: &Snapshot, key: &ClassKey) {
        if self.parts.get(key).is_some_and(|part| part.turn == self.turn) {
            return;
        }
        let scope = Arc::new(match key.kind {
            ProxyKind::Sidecar => Scope::Sidecar(SidecarScope::build(snapshot, &key.namespace, &key.labels)),
            ProxyKind::Router => Scope::Router(MergedGateway::default()),
        });
        let before = self.parts.remove(key).unwrap_or_default();
        let view = ClassView { snapshot, class: key, scope: &scope };
        let mut rows = Collected::default();
        if let Scope::Sidecar(sidecar) = &*scope {
            self.collect_routes(&view, sidecar, &mut rows);
        }
        let keeps_clusters = self.rebuild == Rebuild::Routes && before.scope.as_ref().is_some_and(|before| same_services(before, &scope));
        if !keeps_clusters {
            self.collect_clusters(&view, &mut rows);
            self.collect_endpoints(&view, &mut rows);
        }
        let mut take = |kind, before: &Resources| before.replaced_by(rows.resources.remove(&kind).unwrap_or_default());
        let routes = take(ResourceType::Route, &before.routes);
        let (clusters, endpoints, specs) = if keeps_clusters {
            (before.clusters, before.endpoints, before.specs)
        } else {
            (take(ResourceType::Cluster, &before.clusters), take(ResourceType::Endpoint, &before.endpoints), rows.specs)
        };
        let scope = (key.kind == ProxyKind::Sidecar).then_some(scope);
        self.parts.insert(key.clone(), Part { clusters, endpoints, routes, specs, scope, turn: self.turn });
    }

    fn collect_clusters(&mut self, view: &ClassView<'_>, rows: &mut Collected) {
        for service in resolve::cluster::services(view) {
            let clusters = self.cluster_row(view, service);
            for spec in &clusters.endpoints {
                rows.specs.entry(service.key.clone()).or_default().push(spec.clone());
            }
            clusters.clusters.iter().for_each(|cluster| rows.add(ResourceType::Cluster, cluster.clone()));
        }
        for (name, body, origins) in resolve::cluster::fixed(view) {
            rows.add(ResourceType::Cluster, self.interner.encode(ResourceType::Cluster, &name, &body, origins));
        }
    }

    fn cluster_row(&mut self, view: &ClassView<'_>, service: &Arc<Service>) -> Arc<ServiceClusters> {
        let snapshot = view.snapshot;
        let rule = view.destination_rule(service);
        let accounts = identities(snapshot.endpoints_of(&service.key));
        let traits = resolve::cluster::ClusterTraits::of(view, service);
        let inline = resolve::cluster::carries_endpoints(service).then(|| endpoints_row(snapshot, &service.key)).flatten();
        let inline = inline.map(|endpoints| (endpoints, around(snapshot)));
        let inputs = (
            Same(service.clone()),
            rule.map(|rule| Same(rule.clone())),
            Same(snapshot.mesh.clone()),
            accounts.clone(),
            traits.clone(),
            inline,
        );
        let key = (service.key.clone(), traits, rule.map(|rule| rule.namespace.clone()));
        self.identities.insert(service.key.clone(), accounts);
        let interner = &mut self.interner;
        self.clusters.get(key, inputs, |_| Arc::new(resolve::cluster::of_service(view, service, rule, interner)))
    }

    fn collect_endpoints(&mut self, view: &ClassView<'_>, rows: &mut Collected) {
        let specs: Vec<_> = rows.specs.values().flatten().cloned().collect();
        for spec in specs {
            let row = self.endpoint_row(view.snapshot, view.class, &spec);
            rows.add(ResourceType::Endpoint, row);
        }
    }

    fn endpoint_row(&mut self, snapshot: &Snapshot, class: &ClassKey, spec: &Arc<EndpointSpec>) -> Arc<Encoded> {
        let client = resolve::endpoint::EndpointClient::of(spec, class);
        let endpoints = endpoints_row(snapshot, &spec.service);
        let interner = &mut self.interner;
        let key = (spec.cluster.clone(), client.clone());
        self.endpoints.get(key, (Same(spec.clone()), endpoints, around(snapshot)), |_| {
            let (body, origins) = resolve::endpoint::build(spec, snapshot.endpoints_of(&spec.service), &client, &Surroundings::of(snapshot));
            interner.encode(ResourceType::Endpoint, &spec.cluster, &body, origins)
        })
    }

    fn collect_routes(&mut self, view: &ClassView<'_>, scope: &SidecarScope, rows: &mut Collected) {
        for (name, listener) in resolve::route::names(view, &scope.egress) {
            let (body, origins) = resolve::route::sidecar(view, listener, &name);
            self.route_rows += 1;
            rows.add(ResourceType::Route, self.interner.encode(ResourceType::Route, &name.text(), &body, Arc::from(origins)));
        }
    }

    fn collect_listeners(&mut self, view: &ClassView<'_>, scope: &SidecarScope, rows: &mut Collected) {
        for (name, body, origins) in resolve::outbound::listeners(view, scope).into_iter().chain(resolve::inbound::listeners(view)) {
            self.listener_rows += 1;
            rows.add(ResourceType::Listener, self.interner.encode(ResourceType::Listener, &name, &body, origins));
        }
    }

    fn collect_router(&mut self, view: &ClassView<'_>, gateway: &MergedGateway, rows: &mut Collected) {
        for (name, body, origins) in resolve::gateway::routes(view, gateway) {
            self.route_rows += 1;
            rows.add(ResourceType::Route, self.interner.encode(ResourceType::Route, &name, &body, origins));
        }
        for (name, body, origins) in resolve::gateway::listeners(view, gateway) {
            self.listener_rows += 1;
            rows.add(ResourceType::Listener, self.interner.encode(ResourceType::Listener, &name, &body, origins));
        }
        for (name, body, origins) in resolve::secret::secrets(view, gateway) {
            rows.add(ResourceType::Secret, self.interner.encode(ResourceType::Secret, &name, &body, origins));
        }
    }
}

/// What a generation has found so far. Names are unique: the first resource of a name stays.
#[derive(Default)]
struct Collected {
    resources: BTreeMap<ResourceType, BTreeMap<xds_wire::ResourceName, Arc<Encoded>>>,
    specs: BTreeMap<ServiceKey, Vec<Arc<EndpointSpec>>>,
}

impl Collected {
    fn add(&mut self, kind: ResourceType, resource: Arc<Encoded>) {
        self.resources.entry(kind).or_default().entry(resource.name.clone()).or_insert(resource);
    }
}

/// Whether both see the very same services, so that the same clusters are made of them.
fn same_services(before: &Scope, now: &Scope) -> bool {
    let (Scope::Sidecar(before), Scope::Sidecar(now)) = (before, now) else { return false };
    before.services.len() == now.services.len() && before.services.values().zip(now.services.values()).all(|(a, b)| Arc::ptr_eq(a, b))
}

fn endpoints_row(snapshot: &Snapshot, key: &ServiceKey) -> Option<Same<Vec<Endpoint>>> {
    snapshot.endpoints.get(&mut incremental::Cx::default(), key).cloned().map(Same)
}

fn around(snapshot: &Snapshot) -> Around {
    (Same(snapshot.network_gateways.clone()), Same(snapshot.peer_authentications.clone()))
}

/// The service accounts of endpoints, `namespace/name`, which become the names that clients check.
fn identities(endpoints: &[Endpoint]) -> Vec<String> {
    let accounts = endpoints.iter().map(|endpoint| &endpoint.workload).filter(|workload| !workload.service_account.is_empty());
    let accounts: BTreeSet<String> = accounts.map(|workload| format!("{}/{}", workload.namespace, workload.service_account)).collect();
    accounts.into_iter().collect()
}

fn targets(key: &ClassKey) -> Vec<ServiceTarget> {
    key.targets.iter().map(|target| ServiceTarget { service: target.service.clone(), port: target.port, target: target.target }).collect()
}

/// A named resource before it is encoded for the wire.
pub type Built = (String, bytes::Bytes, xds_wire::Origins);
