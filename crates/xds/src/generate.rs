//! The rows of all classes: the clusters of a service, the endpoints of a cluster, and what they are looked up by.

use crate::class::{Class, ClassKey};
use crate::delta::Delta;
use crate::held::still_held;
use crate::part::Part;
use crate::resolve::{
    self, View as ClassView,
    endpoint::{EndpointSpec, Surroundings},
    virtual_host::RouteRows,
};
use crate::rows::{Interner, Same, Shared};
use crate::turn::Statistics;
use envoy::tls::SecretNames;
use istio_api::mesh::MeshConfig;
use model::{MergedRule, PeerAuthentications, Snapshot};
use registry::{Endpoint, NetworkGateways, Service, ServiceKey};
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
    /// The secrets that the clusters want.
    pub secrets: SecretNames,
}

/// What the clusters of a service depend on.
type ClusterInputs = (
    Same<Service>,
    Option<Same<MergedRule>>,
    Same<MeshConfig>,
    Vec<String>,
    resolve::cluster::ClusterTraits,
    Option<(Same<Vec<Endpoint>>, Around)>,
);
type ClusterRowKey = (ServiceKey, resolve::cluster::ClusterTraits, Option<base::Namespace>);
type EndpointInputs = (Same<EndpointSpec>, Option<Same<Vec<Endpoint>>>, Around);
/// What endpoints depend on beside themselves.
type Around = (Same<NetworkGateways>, Same<PeerAuthentications>);

/// The rows that are kept between turns.
#[derive(Default)]
pub struct Generator {
    pub(crate) interner: Interner,
    clusters: Shared<ClusterRowKey, ClusterInputs, ServiceClusters>,
    endpoints: Shared<(String, resolve::endpoint::EndpointClient), EndpointInputs, Encoded>,
    pub(crate) routes: RouteRows,
    identities: FxHashMap<ServiceKey, Vec<String>>,
    pub(crate) parts: BTreeMap<ClassKey, Part>,
    pub(crate) turn: u64,
    pub(crate) listener_rows: u64,
}

impl Generator {
    /// Adds the work done here.
    pub fn count(&self, statistics: Statistics) -> Statistics {
        Statistics {
            cluster_rows: self.clusters.built,
            endpoint_rows: self.endpoints.built,
            virtual_host_rows: self.routes.built,
            route_rows: self.interner.encoded(ResourceType::Route),
            listener_rows: self.listener_rows,
            ..statistics
        }
    }

    /// Whether the endpoints carry the same service accounts as those for which clusters were built.
    pub fn same_identities(&self, key: &ServiceKey, endpoints: &[Endpoint]) -> bool {
        self.identities.get(key).is_none_or(|known| *known == identities(endpoints))
    }

    /// Begins a turn in which every class is put together again.
    pub fn begin(&mut self) {
        self.turn += 1;
    }

    /// Drops the parts that none of these classes has, and the rows that no part has.
    pub fn sweep<'a>(&mut self, live: impl Iterator<Item = &'a ClassKey>) {
        let live: BTreeSet<ClassKey> = live.map(ClassKey::part).collect();
        self.parts.retain(|key, _| live.contains(key));
        self.clusters.sweep();
        self.endpoints.sweep();
        self.routes.sweep();
        self.interner.sweep();
    }

    /// Builds the endpoints of the touched services again, once for all classes that share them.
    pub fn endpoints(&mut self, snapshot: &Snapshot, touched: &BTreeSet<ServiceKey>) {
        let mut parts = std::mem::take(&mut self.parts);
        for (key, part) in &mut parts {
            for service in touched.iter().filter_map(|service| part.rows.get(&service.hostname)) {
                for spec in &service.endpoints {
                    part.endpoints.insert(self.endpoint_row(snapshot, key, spec));
                }
            }
        }
        self.parts = parts;
    }

    /// Gives a class the endpoints of its part; says whether any differ.
    pub fn refresh_endpoints(&self, key: &ClassKey, class: &mut Class, revision: u64) -> bool {
        let Some(part) = self.parts.get(&key.part()) else { return false };
        let after = part.endpoints.over(class.view.of(ResourceType::Endpoint));
        if class.view.of(ResourceType::Endpoint).same(&after) {
            return false;
        }
        let mut view = (*class.view).clone();
        view.revision = revision;
        view.set(ResourceType::Endpoint, after);
        class.view = Arc::new(view);
        true
    }

    /// Generates what the class sees, as far as `delta` reaches it; says whether anything differs.
    pub fn class(&mut self, snapshot: &Snapshot, key: &ClassKey, class: &mut Class, delta: &Delta, revision: u64) -> bool {
        let part_key = key.part();
        let Some(part) = self.advance_part(snapshot, &part_key, delta) else { return false };
        let shared = [
            (ResourceType::Cluster, part.clusters.clone()),
            (ResourceType::Endpoint, part.endpoints.clone()),
            (ResourceType::Listener, Resources::default()),
            (ResourceType::Route, part.routes.clone()),
            (ResourceType::VirtualHost, part.one_by_one.hosts.clone()),
            (ResourceType::Secret, part.secrets.clone()),
        ];
        // A gateway's route configurations are its own, and whole.
        let bare_routes = part.is_one_by_one().then(|| part.one_by_one.routes.clone());
        let sight = part.sight();
        let own = class.own.advance(self, snapshot, key, &sight, delta);
        let mut next = View::new(revision);
        next.set_bare_routes(bare_routes);
        let mut changed = false;
        for (kind, shared) in shared {
            let before = class.view.of(kind);
            let after = if own { shared.under(class.own.rows(kind), before) } else { shared.over(before) };
            changed |= !before.same(&after);
            next.set(kind, after);
        }
        if changed || class.view.revision == 0 {
            if class.view.revision != 0 {
                class.replaced.note(&class.view, &next);
            }
            let holds = still_held(&class.view, &next);
            class.view = Arc::new(if holds.is_empty() { next } else { next.holding(revision, holds) });
        }
        changed
    }

    /// The clusters of a service that the part sees.
    pub(crate) fn cluster_row(&mut self, view: &ClassView<'_>, service: &Arc<Service>) -> Arc<ServiceClusters> {
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

    /// The endpoints of a cluster of the part.
    pub(crate) fn endpoint_row(&mut self, snapshot: &Snapshot, class: &ClassKey, spec: &Arc<EndpointSpec>) -> Arc<Encoded> {
        let client = resolve::endpoint::EndpointClient::of(spec, class);
        let endpoints = endpoints_row(snapshot, &spec.service);
        let interner = &mut self.interner;
        let key = (spec.cluster.clone(), client.clone());
        self.endpoints.get(key, (Same(spec.clone()), endpoints, around(snapshot)), |_| {
            let (body, origins) =
                resolve::endpoint::build(spec, snapshot.endpoints_of(&spec.service), &client, &Surroundings::of(snapshot));
            interner.encode(ResourceType::Endpoint, &spec.cluster, &body, origins)
        })
    }
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

/// A named resource before it is encoded for the wire.
pub type Built = (String, bytes::Bytes, xds_wire::Origins);
