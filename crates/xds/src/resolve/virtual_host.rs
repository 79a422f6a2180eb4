//! Virtual hosts as rows: built and encoded once, kept from turn to turn, shared by all that have the same.

use super::{Scope, View, destination, route};
use crate::rows::{Same, Shared};
use base::{DomainSuffix, Hostname, Labels, ObjectRef, PortNumber};
use bytes::Bytes;
use envoy::filter::http::stateful_session::SessionState;
use envoy::route::{self as builder, DefaultRouteInputs, Destinations, HttpRouteInputs, RouteDefaults, VirtualHostInputs};
use incremental::Cell;
use istio_api::mesh::MeshConfig;
use istio_api::networking::{destination_rule::ConsistentHashLb, virtual_service::Destination};
use model::{MESH_GATEWAY, OutboundPolicy, VirtualService};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use std::{collections::BTreeSet, sync::Arc};
use xds_wire::{Origins, Part, Version};

/// Encoded routes, which virtual hosts of several names and clients share.
#[derive(Debug)]
pub struct Routes(Bytes);

impl Routes {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the routes of a rule depend on.
#[derive(PartialEq)]
pub struct RoutesInputs {
    rule: Same<VirtualService>,
    domain: DomainSuffix,
    port: PortNumber,
    labels: Labels,
    namespace: String,
    destinations: Destinations,
    defaults: RouteDefaults,
}

impl RoutesInputs {
    /// Those of `vs` for requests to a port of the mesh.
    pub fn new(view: &View<'_>, vs: &Arc<VirtualService>, port: PortNumber) -> Self {
        let client = route::client(view, vs);
        Self {
            rule: Same(vs.clone()),
            domain: view.snapshot.domain.clone(),
            port,
            labels: client.labels.clone(),
            namespace: client.namespace.to_string(),
            destinations: destination::of_virtual_service(view, vs, port),
            defaults: route::defaults(view),
        }
    }

    /// Everything that the builder gets stands in `self`.
    fn build(&self) -> Routes {
        let vs = &self.rule.0;
        let gateways = BTreeSet::from([MESH_GATEWAY.to_string()]);
        let (routes, _) = builder::http_routes(&HttpRouteInputs {
            virtual_service: &vs.spec,
            name: &vs.name,
            namespace: vs.namespace.as_str(),
            domain: self.domain.as_str(),
            semantics: route::semantics(vs),
            listener_port: self.port,
            tls: false,
            client: builder::RouteClient { labels: &self.labels, namespace: &self.namespace },
            gateways: &gateways,
            destinations: &self.destinations,
            defaults: &self.defaults,
        });
        Routes(builder::encode_routes(&routes))
    }
}

/// What the route of a service without a rule depends on.
#[derive(PartialEq)]
struct DefaultInputs {
    mesh: Same<MeshConfig>,
    hash: Option<ConsistentHashLb>,
    session: Option<SessionState>,
}

/// A virtual host before it is encoded.
pub struct Candidate {
    /// The host that gives the name.
    pub name: Hostname,
    /// The port that gives the name.
    pub port: PortNumber,
    /// Every spelling of the host.
    pub domains: Vec<String>,
    /// What happens to requests.
    pub routes: Arc<Routes>,
    /// Whether attempts are counted in a header.
    pub counts_attempts: bool,
    /// The objects behind it.
    pub origins: Vec<ObjectRef>,
}

/// A virtual host that has all its domains, as long as no other claims one of them.
#[derive(Debug)]
pub struct VirtualHostRow {
    /// The host that gives the name.
    pub name: Hostname,
    /// The port that gives the name.
    pub port: PortNumber,
    /// What it claims: its name and its domains, without regard to case.
    pub claims: Box<[Cell]>,
    /// The element of a route configuration.
    pub part: Arc<Part>,
}

/// The rows of all parts.
#[derive(Default)]
pub struct RouteRows {
    rules: Shared<(usize, PortNumber), RoutesInputs, Routes>,
    services: Shared<(Hostname, PortNumber), DefaultInputs, Routes>,
    hosts: FxHashMap<Version, Vec<Arc<VirtualHostRow>>>,
    catch_alls: FxHashMap<Version, Arc<Part>>,
    swept: usize,
    /// How many virtual hosts were made, ever: each content counts once, whoever has it.
    pub built: u64,
}

impl RouteRows {
    /// The routes of a rule.
    pub fn of_rule(&mut self, inputs: RoutesInputs) -> Arc<Routes> {
        let key = (Arc::as_ptr(&inputs.rule.0).addr(), inputs.port);
        self.rules.get(key, inputs, |inputs| Arc::new(inputs.build()))
    }

    /// The route of a port of a service that no rule is about.
    pub fn of_service(
        &mut self,
        hostname: &Hostname,
        port: PortNumber,
        mesh: &Arc<MeshConfig>,
        (hash, session): (Option<ConsistentHashLb>, Option<SessionState>),
    ) -> Arc<Routes> {
        let inputs = DefaultInputs { mesh: Same(mesh.clone()), hash, session };
        self.services.get((hostname.clone(), port), inputs, |inputs| {
            let retries = inputs.mesh.0.default_http_retry_policy.as_ref();
            let (hash, session) = (inputs.hash.as_ref(), inputs.session.as_ref());
            let inputs = DefaultRouteInputs { hostname: hostname.as_str(), port, retries, hash, session };
            Arc::new(Routes(builder::encode_routes(&[builder::default_route(&inputs)])))
        })
    }

    /// The row of a candidate; `None` if it has no domain. Where all ports are served, a name without a port means port 80.
    pub fn row(&mut self, candidate: Candidate, all_ports: bool) -> Option<Arc<VirtualHostRow>> {
        let Candidate { name, port, mut domains, routes, counts_attempts, origins } = candidate;
        let mut seen = BTreeSet::new();
        domains.retain(|domain| (!all_ports || port == 80 || has_port(domain)) && seen.insert(domain.to_lowercase()));
        if domains.is_empty() {
            return None;
        }
        seen.insert(name.as_str().to_lowercase());
        let claims: Box<[Cell]> = seen.iter().map(|text| Cell::of(text.as_str())).collect();
        let (host, routes_apart) = (name.to_string(), Vec::new());
        let inputs =
            VirtualHostInputs { host, port, domains, routes: routes_apart, counts_attempts, https_redirect: false, offers_http3: false };
        let bytes = builder::encode_virtual_host_with(builder::virtual_host(inputs), &routes.0);
        let part = Part::new(bytes, Origins::from(origins));
        let known = self.hosts.entry(part.version).or_default();
        if let Some(row) = known.iter().find(|row| *row.part == part) {
            return Some(row.clone());
        }
        known.reserve_exact(1);
        self.built += 1;
        let row = Arc::new(VirtualHostRow { name, port, claims, part: Arc::new(part) });
        known.push(row.clone());
        Some(row)
    }

    /// What happens to requests for unknown hosts.
    pub fn catch_all(&mut self, view: &View<'_>) -> Arc<Part> {
        let host = match view.scope {
            Scope::Router(_) => builder::block_all(),
            Scope::Sidecar(scope) => match &scope.outbound_policy {
                OutboundPolicy::AllowAny => builder::allow_any(builder::names::PASSTHROUGH_CLUSTER),
                OutboundPolicy::AllowAnyDynamicDns => builder::allow_any_dynamic_dns(),
                OutboundPolicy::RegistryOnly => builder::block_all(),
                OutboundPolicy::EgressProxy(proxy) => builder::allow_any(&egress_proxy(view, proxy)),
            },
        };
        let part = Part::staying(builder::encode_virtual_host(&host), Origins::from([]));
        self.catch_alls.entry(part.version).or_insert_with(|| Arc::new(part)).clone()
    }

    /// Forgets what nobody has any more, once that may be half of everything.
    pub fn sweep(&mut self) {
        // Virtual hosts have taken the routes over.
        self.rules.sweep_all();
        self.services.sweep_all();
        if self.hosts.len() > self.swept.saturating_mul(2).max(1024) {
            self.hosts.retain(|_, rows| {
                rows.retain(|row| Arc::strong_count(row) > 1);
                !rows.is_empty()
            });
            self.catch_alls.retain(|_, part| Arc::strong_count(part) > 1);
            self.swept = self.hosts.len();
        }
    }
}

fn egress_proxy(view: &View<'_>, proxy: &Destination) -> String {
    let port = proxy.port.as_ref().and_then(|port| PortNumber::try_from(port.number).ok()).unwrap_or_default();
    let host = Hostname::resolve(&proxy.host, view.class.namespace.as_str(), view.snapshot.domain.as_str());
    builder::names::outbound_cluster(port, &proxy.subset, host.as_str())
}

fn has_port(domain: &str) -> bool {
    domain.rsplit_once(':').is_some_and(|(_, port)| port.parse::<PortNumber>().is_ok())
}

/// The elements of one route configuration. Of rows with the same name the first counts, and a domain belongs to the first
/// that claims it: Envoy would refuse the whole configuration if two did. An exact name of a service goes before the short
/// form of another. Only rows that share a claim with another are looked at closely.
pub fn settle(rows: &[&Arc<VirtualHostRow>]) -> Vec<Arc<Part>> {
    let mut seen = FxHashSet::with_capacity_and_hasher(rows.iter().map(|row| row.claims.len()).sum(), FxBuildHasher);
    let contested: FxHashSet<Cell> = rows.iter().flat_map(|row| &row.claims).filter(|claim| !seen.insert(**claim)).copied().collect();
    if contested.is_empty() {
        return rows.iter().map(|row| row.part.clone()).collect();
    }
    let shares = |row: &VirtualHostRow| row.claims.iter().any(|claim| contested.contains(claim));
    let exact: BTreeSet<&str> = rows.iter().filter(|row| shares(row)).map(|row| row.name.as_str()).collect();
    let (mut names, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let mut out = Vec::new();
    for row in rows {
        if !shares(row) {
            out.push(row.part.clone());
            continue;
        }
        if names.contains(&(&row.name, row.port)) {
            continue;
        }
        let part =
            without(&row.part, |domain| (domain == row.name.as_str() || !exact.contains(domain)) && taken.insert(domain.to_lowercase()));
        if let Some(part) = part {
            names.insert((&row.name, row.port));
            out.push(part);
        }
    }
    out
}

/// The virtual host with those of its domains that are `free`, if there are any.
fn without(part: &Arc<Part>, mut free: impl FnMut(&str) -> bool) -> Option<Arc<Part>> {
    let mut host = builder::decode_virtual_host(&part.bytes)?;
    let before = host.domains.len();
    host.domains.retain(|domain| free(domain));
    if host.domains.len() == before {
        return Some(part.clone());
    }
    (!host.domains.is_empty()).then(|| Arc::new(Part::new(builder::encode_virtual_host(&host), part.origins.clone())))
}

/// The virtual host under every name: whoever has come to a service's own address means the service, whatever name it gives.
pub fn under_every_name(part: &Arc<Part>) -> Arc<Part> {
    let Some(mut host) = builder::decode_virtual_host(&part.bytes) else { return part.clone() };
    host.domains = vec!["*".to_string()];
    Arc::new(Part::new(builder::encode_virtual_host(&host), part.origins.clone()))
}
