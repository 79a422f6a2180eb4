//! What a sidecar proxy sees: the services and rules of each of its outbound listeners.

use crate::{MESH_GATEWAY, Snapshot, VirtualService, snapshot::port_number};
use base::{Hostname, Labels, Namespace, PortNumber, Protocol};
use incremental::Cx;
use istio_api::Object;
use istio_api::mesh::mesh_config;
use istio_api::networking::sidecar::{CaptureMode, IstioEgressListener, OutboundTrafficMode, Sidecar, SidecarPort};
use istio_api::networking::virtual_service::Destination;
use registry::Service;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What happens to traffic for unknown hosts.
#[derive(Clone, PartialEq, Debug)]
pub enum OutboundPolicy {
    /// It goes where it was going.
    AllowAny,
    /// HTTP goes where DNS says, the rest where it was going.
    AllowAnyDynamicDns,
    /// It ends here.
    RegistryOnly,
    /// It goes to this destination.
    EgressProxy(Destination),
}

/// One outbound listener of a Sidecar, or the one that stands for all if there is no Sidecar.
#[derive(Clone, Debug)]
pub struct EgressListener {
    /// Where it listens; `None` stands for the port of each service.
    pub port: Option<SidecarPort>,
    /// The address; empty means the default.
    pub bind: String,
    /// Whether traffic is captured.
    pub capture: CaptureMode,
    /// The services it sees, the oldest first.
    pub services: Arc<[Arc<Service>]>,
    /// The same by host name.
    pub by_host: Arc<BTreeMap<Hostname, Arc<Service>>>,
    /// Whether it sees every service that its client may see.
    pub complete: bool,
    /// The rules it sees, in the order in which they win a host.
    pub virtual_services: Vec<Arc<VirtualService>>,
}

/// Everything that the proxies of a namespace see.
#[derive(Clone, Debug)]
pub struct SidecarScope {
    /// The object, if there is one.
    pub sidecar: Option<Arc<Object<Sidecar>>>,
    /// The outbound listeners; one that has no port comes last.
    pub egress: Vec<EgressListener>,
    /// Every service that any listener sees or any rule leads to, one for each host name.
    pub services: Arc<BTreeMap<Hostname, Arc<Service>>>,
    /// What happens to traffic for unknown hosts.
    pub outbound_policy: OutboundPolicy,
}

impl SidecarScope {
    /// The scope of a client. Cost: the number of services and rules that exist, times the listeners.
    pub fn build(snapshot: &Snapshot, namespace: &Namespace, labels: &Labels) -> Self {
        Self::build_after(snapshot, namespace, labels, None)
    }

    /// The same. The listeners of `previous`, a scope of this client, see the same services as then, if there is one.
    pub fn build_after(snapshot: &Snapshot, namespace: &Namespace, labels: &Labels, previous: Option<&Self>) -> Self {
        let sidecar = select_sidecar(snapshot, namespace, labels).cloned();
        let default = [IstioEgressListener { hosts: vec!["*/*".to_string()], ..Default::default() }];
        let declared = sidecar.as_ref().map(|object| object.spec.egress.as_slice()).filter(|egress| !egress.is_empty());
        let egress = declared.unwrap_or(&default);
        let before = |index: usize| previous.and_then(|previous| previous.egress.get(index));
        let egress: Vec<_> =
            egress.iter().enumerate().map(|(index, listener)| build(snapshot, namespace, listener, before(index))).collect();
        let services = imported(snapshot, namespace, &egress, previous);
        let outbound_policy = outbound_policy(snapshot, sidecar.as_deref());
        Self { sidecar, egress, services, outbound_policy }
    }
}

type ServicesByHost = BTreeMap<Hostname, Arc<Service>>;

/// The services of all listeners, the first of each name. A rule's destinations are seen even if no listener lists them
/// (Istio's `collectImportedServices`).
fn imported(snapshot: &Snapshot, namespace: &Namespace, egress: &[EgressListener], previous: Option<&SidecarScope>) -> Arc<ServicesByHost> {
    let mut listed = match egress {
        [only] => only.by_host.clone(),
        _ => {
            let mut all = ServicesByHost::new();
            for (host, service) in egress.iter().flat_map(|listener| &*listener.by_host) {
                all.entry(host.clone()).or_insert_with(|| service.clone());
            }
            Arc::new(all)
        }
    };
    let mut more = ServicesByHost::new();
    // A listener for everything leaves nothing for the destinations to add.
    let rules = egress.iter().flat_map(|listener| &listener.virtual_services).filter(|_| !egress.iter().any(|listener| listener.complete));
    for destination in rules.flat_map(|vs| vs.destinations()) {
        let host = Hostname::new(&destination.host);
        if let Some(service) = snapshot.service_named(&host, namespace).filter(|_| !listed.contains_key(&host)) {
            more.insert(host, service.clone());
        }
    }
    if !more.is_empty() {
        Arc::make_mut(&mut listed).append(&mut more);
    }
    match previous {
        Some(previous) if same(&previous.services, &listed) => previous.services.clone(),
        _ => listed,
    }
}

/// Whether both are the very same services.
fn same(one: &Arc<ServicesByHost>, other: &Arc<ServicesByHost>) -> bool {
    Arc::ptr_eq(one, other) || (one.len() == other.len() && one.values().zip(other.values()).all(|(a, b)| Arc::ptr_eq(a, b)))
}

/// The Sidecar of a workload: those with a selector first, the oldest of them; then the one for the namespace; then that
/// of the root namespace.
pub fn select_sidecar<'a>(snapshot: &'a Snapshot, namespace: &Namespace, labels: &Labels) -> Option<&'a Arc<Object<Sidecar>>> {
    let own = snapshot.sidecars.get(namespace).into_iter().flatten();
    let root = snapshot.sidecars.get(&snapshot.root_namespace()).into_iter().flatten();
    let selector = |object: &'a Arc<Object<Sidecar>>| object.spec.workload_selector.as_ref().map(|s| &s.labels).filter(|l| !l.is_empty());
    own.clone()
        .find(|object| selector(object).is_some_and(|wanted| labels.contain(wanted)))
        .or_else(|| own.clone().find(|object| selector(object).is_none()))
        .or_else(|| root.clone().find(|object| selector(object).is_none()))
}

fn outbound_policy(snapshot: &Snapshot, sidecar: Option<&Object<Sidecar>>) -> OutboundPolicy {
    if let Some(policy) = sidecar.and_then(|object| object.spec.outbound_traffic_policy.as_ref()) {
        return match (&policy.egress_proxy, policy.mode) {
            (Some(proxy), _) => OutboundPolicy::EgressProxy(proxy.clone()),
            (None, OutboundTrafficMode::AllowAny) => OutboundPolicy::AllowAny,
            (None, OutboundTrafficMode::RegistryOnly) => OutboundPolicy::RegistryOnly,
        };
    }
    match snapshot.mesh.outbound_traffic_policy.mode {
        mesh_config::OutboundTrafficMode::RegistryOnly => OutboundPolicy::RegistryOnly,
        mesh_config::OutboundTrafficMode::AllowAnyDynamicDns => OutboundPolicy::AllowAnyDynamicDns,
        _ => OutboundPolicy::AllowAny,
    }
}

/// One entry of `hosts`.
struct Import {
    /// `None` is any namespace.
    namespace: Option<Namespace>,
    host: Hostname,
    exclude: bool,
}

impl Import {
    fn parse(text: &str, own: &Namespace) -> Self {
        let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
        let (exclude, namespace) = match namespace.strip_prefix('~') {
            Some("") => (false, "~"),
            Some(rest) => (true, rest),
            None => (false, namespace),
        };
        let namespace = match namespace {
            "*" => None,
            "." => Some(own.clone()),
            name => Some(Namespace::new(name)),
        };
        Self { namespace, host: Hostname::new(host), exclude }
    }

    /// `*/*`
    fn is_everything(&self) -> bool {
        self.namespace.is_none() && self.host.as_str() == "*" && !self.exclude
    }

    fn covers_namespace(&self, namespace: &Namespace) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
    }
}

/// `before` sees the same services.
fn build(snapshot: &Snapshot, namespace: &Namespace, listener: &IstioEgressListener, before: Option<&EgressListener>) -> EgressListener {
    let imports: Vec<_> = listener.hosts.iter().map(|text| Import::parse(text, namespace)).collect();
    let everything = matches!(imports.as_slice(), [only] if only.is_everything());
    let imported = |owner: &Namespace, matches: &dyn Fn(&Hostname) -> bool| {
        let hits = |exclude| imports.iter().any(|i| i.exclude == exclude && i.covers_namespace(owner) && matches(&i.host));
        everything || (hits(false) && !hits(true))
    };
    // An explicit proxy serves all ports.
    let own_port = listener.port.as_ref().filter(|port| Protocol::parse(&port.protocol) != Protocol::HttpProxy);
    let port = own_port.and_then(|port| port_number(port.number));
    let sees = |service: &Service| {
        service.visibility.allows(namespace)
            && serves(service, port)
            && imported(&service.key.namespace, &|host| service.key.hostname.subset_of(host))
    };
    let (services, by_host) = match before {
        Some(before) => (before.services.clone(), before.by_host.clone()),
        None => one_for_each_host(snapshot, sees, namespace),
    };
    let rules = snapshot.virtual_services.visible(namespace, MESH_GATEWAY).into_iter();
    let rules = rules.filter(|vs| imported(&vs.namespace, &|host| vs.hosts.iter().any(|own| own.matches(host))));
    EgressListener {
        port: listener.port.clone(),
        bind: listener.bind.clone(),
        capture: listener.capture_mode,
        services,
        by_host,
        complete: everything && port.is_none(),
        virtual_services: rules.cloned().collect(),
    }
}

/// A listener with a port sees services with that port, and those with a single port, which it stands in for.
fn serves(service: &Service, port: Option<PortNumber>) -> bool {
    port.is_none_or(|port| service.port(port).is_some() || service.ports.len() == 1)
}

fn rank<'a>(service: &'a Service, client: &Namespace) -> impl Ord + use<'a> {
    (service.key.namespace != *client, service.provider, service.age_order())
}

/// Of several services with the same host name: the client's own namespace's before others, then Kubernetes', then the
/// oldest. In the order of their age, and by host name.
fn one_for_each_host(
    snapshot: &Snapshot,
    sees: impl Fn(&Service) -> bool,
    client: &Namespace,
) -> (Arc<[Arc<Service>]>, Arc<ServicesByHost>) {
    // The services of a name are neighbours.
    let mut best: Vec<&Arc<Service>> = Vec::with_capacity(snapshot.services.len());
    let (mut seen, mut contested) = (0_usize, BTreeSet::new());
    for (_, service) in snapshot.services.iter(&mut Cx::default()).filter(|(_, service)| sees(service)) {
        seen += 1;
        match best.last_mut() {
            Some(known) if known.key.hostname == service.key.hostname => {
                contested.insert(&service.key.hostname);
                if rank(service, client) < rank(known, client) {
                    *known = service;
                }
            }
            _ => best.push(service),
        }
    }
    let by_host: ServicesByHost = best.into_iter().map(|service| (service.key.hostname.clone(), service.clone())).collect();
    let wins = |service: &Arc<Service>| {
        !contested.contains(&service.key.hostname) || by_host.get(&service.key.hostname).is_some_and(|best| Arc::ptr_eq(best, service))
    };
    let mut by_age: Vec<Arc<Service>> = Vec::with_capacity(seen);
    by_age.extend(snapshot.services_by_age.iter().filter(|service| sees(service) && (contested.is_empty() || wins(service))).cloned());
    (by_age.into(), Arc::new(by_host))
}
