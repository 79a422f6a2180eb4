//! What many classes share: everything that does not depend on a proxy's own workload.

use crate::class::ClassKey;
use crate::delta::Delta;
use crate::drafts::Drafts;
use crate::generate::{Generator, ServiceClusters};
use crate::one_by_one::OneByOne;
use crate::resolve::{self, Scope, View as ClassView, outbound::Draft};
use crate::route_table::{Making, RouteTable};
use base::Hostname;
use envoy::{listener::Bind, tls::SecretNames};
use model::{MergedGateway, ProxyKind, Referrer, SidecarScope, Snapshot};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use xds_wire::{Encoded, ResourceName, ResourceType, Resources};

/// The shared part of classes.
#[derive(Default)]
pub struct Part {
    pub(crate) clusters: Resources,
    pub(crate) endpoints: Resources,
    /// Those that clusters want.
    pub(crate) secrets: Resources,
    pub(crate) routes: Resources,
    /// For proxies that get virtual hosts one by one.
    pub(crate) one_by_one: OneByOne,
    /// By host name: a part sees one service of each.
    pub(crate) rows: BTreeMap<Hostname, Arc<ServiceClusters>>,
    fixed_secrets: SecretNames,
    table: RouteTable,
    drafts: Drafts,
    /// Of gateways that have clusters only of what their rules name: these host names.
    referenced: Option<BTreeSet<Hostname>>,
    /// Of sidecars; kept for the listeners of each class.
    scope: Option<Arc<Scope>>,
    /// The turn in which some listener last saw other services than before.
    services_turn: u64,
    turn: u64,
}

/// What the classes of a part see.
pub struct Sight {
    /// Of sidecars.
    pub scope: Option<Arc<Scope>>,
    /// Whether the listeners see other services than in the last turn.
    pub services: bool,
    /// The outbound listeners, as far as classes have them in common.
    pub drafts: Arc<BTreeMap<Bind, Arc<Draft>>>,
}

impl Part {
    /// Whether proxies that can get its virtual hosts one by one.
    pub fn is_one_by_one(&self) -> bool {
        self.one_by_one.routes.iter().next().is_some()
    }

    /// Whether the services of this name have clusters here.
    fn has_clusters_of(&self, host: &Hostname) -> bool {
        self.referenced.as_ref().is_none_or(|hosts| hosts.contains(host))
    }

    /// What its classes see.
    pub fn sight(&self) -> Sight {
        Sight { scope: self.scope.clone(), services: self.services_turn == self.turn, drafts: self.drafts.rows.clone() }
    }
}

type Named = BTreeMap<ResourceName, Arc<Encoded>>;

impl Generator {
    /// Brings a part up to date, once in a turn.
    pub(crate) fn advance_part(&mut self, snapshot: &Snapshot, key: &ClassKey, delta: &Delta) -> Option<&Part> {
        if self.parts.get(key).is_none_or(|part| part.turn != self.turn) {
            let known = self.parts.remove(key);
            let delta = if known.is_some() { Cow::Borrowed(delta) } else { Cow::Owned(Delta::everything()) };
            let mut part = known.unwrap_or_default();
            let delta = part.look(snapshot, key, delta, self.turn);
            self.rebuild(&mut part, snapshot, key, &delta);
            part.turn = self.turn;
            self.parts.insert(key.clone(), part);
        }
        self.parts.get(key)
    }

    fn rebuild(&mut self, part: &mut Part, snapshot: &Snapshot, key: &ClassKey, delta: &Delta) {
        let scope = part.scope.clone().unwrap_or_else(|| Arc::new(Scope::Router(MergedGateway::default())));
        let view = ClassView::new(snapshot, key, &scope);
        if delta.settings {
            self.all_clusters(part, &view);
        } else {
            delta.hosts.iter().for_each(|host| self.clusters_of(part, &view, host));
        }
        if delta.settings || !delta.hosts.is_empty() {
            let mut names = part.fixed_secrets.clone();
            part.rows.values().filter(|row| !row.secrets.is_empty()).for_each(|row| names.extend(row.secrets.clone()));
            let secrets = resolve::secret::named(&view, &names, Referrer::Workload).into_iter();
            let secrets: Vec<_> =
                secrets.map(|(name, body, from)| self.interner.encode(ResourceType::Secret, &name, &body, from)).collect();
            part.secrets = part.secrets.replaced_by(named(secrets.into_iter()));
        }
        drop(view.reads.take());
        if let Scope::Sidecar(scope) = &*scope {
            part.drafts.advance(&view, scope, part.services_turn == self.turn, delta);
        }
        let nothing = !delta.settings && !delta.services && delta.hosts.is_empty() && delta.rules.is_empty();
        if let (Scope::Sidecar(scope), false) = (&*scope, nothing) {
            let (rows, interner) = (&mut self.routes, &mut self.interner);
            let made = part.table.advance(&mut Making { view: &view, scope, delta, rows, interner });
            if snapshot.features.virtual_host_discovery {
                part.one_by_one.advance(&part.routes, &made, &mut self.interner);
            }
            part.routes = part.routes.replaced_by(named(made.into_iter()));
        }
    }

    fn all_clusters(&mut self, part: &mut Part, view: &ClassView<'_>) {
        let services = resolve::cluster::services(view).into_iter().filter(|service| part.has_clusters_of(&service.key.hostname));
        part.rows = services.map(|service| (service.key.hostname.clone(), self.cluster_row(view, service))).collect();
        let specs: Vec<_> = part.rows.values().flat_map(|row| &row.endpoints).cloned().collect();
        let endpoints = specs.iter().map(|spec| self.endpoint_row(view.snapshot, view.class, spec));
        part.endpoints = part.endpoints.replaced_by(named(endpoints));
        let (fixed, secrets) = resolve::cluster::fixed(view);
        part.fixed_secrets = secrets;
        let fixed = fixed.into_iter().map(|(name, body, origins)| self.interner.encode(ResourceType::Cluster, &name, &body, origins));
        let fixed: Vec<_> = fixed.collect();
        let clusters = part.rows.values().flat_map(|row| &row.clusters).cloned();
        part.clusters = part.clusters.replaced_by(named(clusters.chain(fixed)));
    }

    /// Brings the clusters of one host name up to date, and their endpoints.
    fn clusters_of(&mut self, part: &mut Part, view: &ClassView<'_>, host: &Hostname) {
        let service = view.service(host).filter(|_| part.has_clusters_of(host));
        let row = service.map(|service| self.cluster_row(view, service)).unwrap_or_default();
        let names: BTreeSet<&ResourceName> = row.clusters.iter().map(|cluster| &cluster.name).collect();
        let specs: BTreeSet<&str> = row.endpoints.iter().map(|spec| spec.cluster.as_str()).collect();
        if let Some(before) = part.rows.get(host) {
            let gone = before.clusters.iter().filter(|cluster| !names.contains(&cluster.name));
            gone.for_each(|cluster| part.clusters.remove(&cluster.name));
            let gone = before.endpoints.iter().filter(|spec| !specs.contains(spec.cluster.as_str()));
            gone.for_each(|spec| part.endpoints.remove(&spec.cluster));
        }
        for cluster in &row.clusters {
            part.clusters.insert(cluster.clone());
        }
        for spec in &row.endpoints {
            part.endpoints.insert(self.endpoint_row(view.snapshot, view.class, spec));
        }
        if row.clusters.is_empty() {
            part.rows.remove(host);
        } else {
            part.rows.insert(host.clone(), row);
        }
    }
}

impl Part {
    /// Brings the scope up to date. The delta grows by the host names that now mean another service to the part.
    fn look<'a>(&mut self, snapshot: &Snapshot, key: &ClassKey, delta: Cow<'a, Delta>, turn: u64) -> Cow<'a, Delta> {
        if key.kind == ProxyKind::Router {
            if !(delta.settings || delta.policies || delta.services || !delta.rules.is_empty()) {
                return delta;
            }
            let now = resolve::referenced::hosts(snapshot, key);
            let (before, after) = (self.referenced.take().unwrap_or_default(), now.clone().unwrap_or_default());
            self.referenced = now;
            let hosts: BTreeSet<_> = before.symmetric_difference(&after).collect();
            return if delta.settings || hosts.is_empty() { delta } else { Cow::Owned(delta.with_hosts(hosts.into_iter())) };
        }
        if !(delta.settings || delta.services || !delta.rules.is_empty()) {
            return delta;
        }
        let before = self.scope.take();
        let sidecar = match before.as_deref() {
            Some(Scope::Sidecar(before)) => Some(before),
            _ => None,
        };
        let same_services = sidecar.filter(|_| !delta.settings && !delta.services);
        let now = SidecarScope::build_after(snapshot, &key.namespace, &key.labels, same_services);
        if !sidecar.is_some_and(|before| same_lists(before, &now)) {
            self.services_turn = turn;
        }
        let hosts: Vec<Hostname> = sidecar.map(|before| differences(&before.services, &now.services)).unwrap_or_default();
        self.scope = Some(Arc::new(Scope::Sidecar(now)));
        if delta.settings || hosts.iter().all(|host| delta.hosts.contains(host)) {
            delta
        } else {
            Cow::Owned(delta.with_hosts(hosts.iter()))
        }
    }
}

/// Whether the listeners see the very same services.
fn same_lists(before: &SidecarScope, now: &SidecarScope) -> bool {
    let same = |one: &[Arc<registry::Service>], other: &[Arc<registry::Service>]| {
        std::ptr::eq(one, other) || (one.len() == other.len() && one.iter().zip(other).all(|(a, b)| Arc::ptr_eq(a, b)))
    };
    before.egress.len() == now.egress.len() && before.egress.iter().zip(&now.egress).all(|(a, b)| same(&a.services, &b.services))
}

type Services = BTreeMap<Hostname, Arc<registry::Service>>;

fn differences(before: &Arc<Services>, now: &Arc<Services>) -> Vec<Hostname> {
    if Arc::ptr_eq(before, now) {
        return Vec::new();
    }
    let gone = before.keys().filter(|host| !now.contains_key(*host));
    let other = |(host, service): &(&Hostname, &Arc<registry::Service>)| !before.get(*host).is_some_and(|old| Arc::ptr_eq(old, service));
    gone.chain(now.iter().filter(other).map(|(host, _)| host)).cloned().collect()
}

/// Names are unique: the first resource of a name stays.
fn named(resources: impl Iterator<Item = Arc<Encoded>>) -> Named {
    let mut out = Named::new();
    for resource in resources {
        out.entry(resource.name.clone()).or_insert(resource);
    }
    out
}
