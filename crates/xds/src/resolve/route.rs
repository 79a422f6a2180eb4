//! The virtual hosts of a sidecar's route configurations: which rule owns which name.

use super::{Scope, View, destination, domains, outbound};
use base::{Hostname, ObjectRef, PortNumber, Protocol};
use bytes::Bytes;
use envoy::route::{
    self, DefaultRouteInputs, HttpRouteInputs, RouteClient, RouteConfigurationInputs, RouteDefaults, RouteSemantics, VirtualHostInputs,
};
use model::{EgressListener, MESH_GATEWAY, OutboundPolicy, VirtualService};
use registry::{Resolution, Service, ServicePort};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use xds_api::envoy::config::route::v3::Route;

/// One route configuration of a sidecar.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RouteName {
    /// All HTTP services of a port share it.
    Port(PortNumber),
    /// One service whose protocol is sniffed.
    Service(Hostname, PortNumber),
    /// The explicit HTTP proxy (`MeshConfig.proxyHttpPort`), which serves all ports.
    HttpProxy,
    /// A Sidecar's listener on a Unix socket, which serves all ports.
    Unix(String),
}

impl RouteName {
    /// The name on the wire.
    pub fn text(&self) -> String {
        match self {
            Self::Port(port) => route::names::port_route_configuration(*port),
            Self::Service(host, port) => route::names::service_route_configuration(host.as_str(), *port),
            Self::HttpProxy => route::names::HTTP_PROXY_ROUTE_CONFIGURATION.to_string(),
            Self::Unix(path) => path.clone(),
        }
    }

    /// The port that it serves behind `listener`; `None` for all ports.
    fn port(&self, listener: &EgressListener) -> Option<PortNumber> {
        let proxy = listener.port.as_ref().is_some_and(|port| Protocol::parse(&port.protocol) == Protocol::HttpProxy);
        match self {
            Self::Port(port) | Self::Service(_, port) => Some(*port).filter(|_| !proxy),
            Self::HttpProxy | Self::Unix(_) => None,
        }
    }
}

/// A virtual host before it is encoded.
struct Candidate {
    name: Hostname,
    port: PortNumber,
    domains: Vec<String>,
    routes: Vec<Route>,
    origins: Vec<ObjectRef>,
}

/// The encoded route configuration, and the objects behind it.
pub fn sidecar(view: &View<'_>, listener: &EgressListener, name: &RouteName) -> (Bytes, Vec<ObjectRef>) {
    let services = services_by_host(listener, name);
    let mut candidates = Vec::new();
    for vs in listener.virtual_services.iter().filter(|vs| !vs.spec.http.is_empty()) {
        of_virtual_service(view, listener, vs, &services, name, &mut candidates);
    }
    let ruled: BTreeSet<Hostname> = candidates.iter().map(|candidate| candidate.name.clone()).collect();
    for (service, ports) in services.iter().filter(|(host, _)| !ruled.contains(*host)).map(|(_, row)| row) {
        candidates.extend(ports.iter().filter_map(|port| of_service(view, service, *port, name.port(listener).is_none())));
    }
    let mut origins = BTreeSet::new();
    let mut hosts = virtual_hosts(candidates, name.port(listener).is_none(), &mut origins);
    if let (RouteName::Service(..), [only]) = (name, hosts.as_mut_slice()) {
        // Whoever has come to the service's own address means the service, whatever name it gives.
        only.domains = vec!["*".to_string()];
    }
    let mut chunks: Vec<Bytes> = hosts.into_iter().map(|host| route::encode_virtual_host(&route::virtual_host(host))).collect();
    if !matches!(name, RouteName::Service(..)) {
        chunks.push(route::encode_virtual_host(&catch_all(view)));
    }
    let text = name.text();
    let inputs =
        RouteConfigurationInputs { name: &text, ignore_port_in_host_matching: name.port(listener).is_some(), virtual_hosts: &chunks };
    (route::route_configuration(&inputs), origins.into_iter().collect())
}

/// Services by name, with those of their ports that are routed by HTTP rules: none for a service that only has opaque
/// ports here, which is known all the same.
type ServicesByHost = BTreeMap<Hostname, ServiceRow>;
type ServiceRow = (Arc<Service>, Vec<PortNumber>);

/// The services that this route configuration is about.
fn services_by_host(listener: &EgressListener, name: &RouteName) -> ServicesByHost {
    let mut out = ServicesByHost::new();
    for service in listener.services.iter().filter(|service| !matches!(service.resolution, Resolution::Alias(_))) {
        if let RouteName::Service(host, _) = name
            && service.key.hostname != *host
        {
            continue;
        }
        let remapped = listener.port.is_some() && service.ports.len() == 1;
        let ports: Vec<&ServicePort> = match name.port(listener) {
            Some(port) => service.port(port).or_else(|| service.ports.first().filter(|_| remapped)).into_iter().collect(),
            None => service.ports.iter().collect(),
        };
        if !ports.is_empty() {
            let routed = ports.iter().filter(|port| port.protocol.is_http() || port.protocol.is_unsupported());
            let routed = routed.map(|port| port.number).collect();
            out.entry(service.key.hostname.clone()).or_insert_with(|| (service.clone(), routed));
        }
    }
    out
}

/// The services that `vs` rules here, named exactly or by the most specific wildcard of all rules, and its hosts that are
/// no service (Istio's `separateVSHostsAndServices`).
fn separate<'a>(
    services: &'a ServicesByHost,
    listener: &EgressListener,
    vs: &'a Arc<VirtualService>,
) -> (Vec<&'a ServiceRow>, Vec<&'a Hostname>) {
    let (mut owned, mut foreign) = (Vec::new(), Vec::new());
    for host in &vs.hosts {
        if host.is_wildcard() {
            let mut known = services.iter().filter(|(name, _)| host.matches(name)).peekable();
            if known.peek().is_none() {
                foreign.push(host);
            }
            owned.extend(known.filter(|(name, _)| owns(listener, vs, name)).map(|(_, row)| row));
        } else {
            match services.get(host) {
                Some(row) => owned.push(row),
                None => foreign.push(host),
            }
        }
    }
    (owned, foreign)
}

/// Whether `vs` has the most specific host for `name`; among equals the first of the listener's rules.
fn owns(listener: &EgressListener, vs: &Arc<VirtualService>, name: &Hostname) -> bool {
    let candidates = listener.virtual_services.iter().flat_map(|vs| vs.hosts.iter().map(move |host| (host, vs)));
    let best = candidates.filter(|(host, _)| name.subset_of(host)).min_by(|(a, _), (b, _)| a.specificity(b));
    best.is_some_and(|(_, owner)| Arc::ptr_eq(owner, vs))
}

/// The virtual hosts of one rule: one for each service that it rules, and one for each of its hosts that no service has,
/// which only port 80 serves unless the rule also rules a service here (Istio's `buildSidecarVirtualHostsForVirtualService`).
fn of_virtual_service(
    view: &View<'_>,
    listener: &EgressListener,
    vs: &Arc<VirtualService>,
    services: &ServicesByHost,
    name: &RouteName,
    out: &mut Vec<Candidate>,
) {
    let (owned, mut foreign) = separate(services, listener, vs);
    if matches!(name, RouteName::Service(..)) {
        foreign.clear();
    }
    let mut ports: BTreeMap<PortNumber, Vec<&Arc<Service>>> = BTreeMap::new();
    for (service, numbers) in owned {
        numbers.iter().for_each(|port| ports.entry(*port).or_default().push(service));
    }
    let all_ports = name.port(listener).is_none();
    if ports.is_empty() && !foreign.is_empty() && (all_ports || *name == RouteName::Port(80)) {
        ports.insert(80, Vec::new());
    }
    for (port, members) in ports {
        let (routes, origins) = routes(view, vs, port, &BTreeSet::from([MESH_GATEWAY.to_string()]), false);
        if routes.is_empty() {
            // Nothing of the rule is for this client: its services go without it.
            continue;
        }
        for host in &foreign {
            let domains = vec![host.to_string()];
            out.push(Candidate { name: (*host).clone(), port, domains, routes: routes.clone(), origins: origins.clone() });
        }
        for service in members {
            let domains = domains::of_service(view, service, all_ports.then_some(port));
            let mut origins = origins.clone();
            origins.push(service.origin.clone());
            out.push(Candidate { name: service.key.hostname.clone(), port, domains, routes: routes.clone(), origins });
        }
    }
}

/// The routes of a rule, with the objects that they come from.
pub fn routes(
    view: &View<'_>,
    vs: &VirtualService,
    port: PortNumber,
    gateways: &BTreeSet<String>,
    tls: bool,
) -> (Vec<Route>, Vec<ObjectRef>) {
    let destinations = destination::of_virtual_service(view, vs, port);
    let defaults = defaults(view);
    let inputs = HttpRouteInputs {
        virtual_service: &vs.spec,
        name: &vs.name,
        namespace: vs.namespace.as_str(),
        domain: view.snapshot.domain.as_str(),
        semantics: RouteSemantics::VirtualService,
        listener_port: port,
        tls,
        client: RouteClient { labels: &view.class.labels, namespace: view.class.namespace.as_str() },
        gateways,
        destinations: &destinations,
        defaults: &defaults,
    };
    let (routes, _) = route::http_routes(&inputs);
    let origins = std::iter::once(&vs.origin).chain(&vs.delegates).cloned().collect();
    (routes, origins)
}

fn defaults(view: &View<'_>) -> RouteDefaults {
    let mesh = &view.snapshot.mesh;
    RouteDefaults { retries: mesh.default_http_retry_policy.clone(), inbound_retries: mesh.default_inbound_http_retry_policy.clone() }
}

/// A service without a rule.
fn of_service(view: &View<'_>, service: &Arc<Service>, port: PortNumber, all_ports: bool) -> Option<Candidate> {
    let target = destination::concrete(view, &service.key.hostname)?;
    let rule = view.destination_rule(target);
    let hash = rule.and_then(|rule| destination::consistent_hash(rule, port, ""));
    let retries = view.snapshot.mesh.default_http_retry_policy.as_ref();
    let route = route::default_route(&DefaultRouteInputs { hostname: target.key.hostname.as_str(), port, retries, hash: hash.as_ref() });
    let mut origins = vec![service.origin.clone()];
    origins.extend(rule.into_iter().flat_map(|rule| rule.origins.iter().cloned()));
    let domains = domains::of_service(view, service, all_ports.then_some(port));
    Some(Candidate { name: service.key.hostname.clone(), port, domains, routes: vec![route], origins })
}

/// The virtual hosts, of which the first of a name counts. A domain belongs to the first that claims it: Envoy would refuse
/// the whole configuration if two did. An exact name of a service goes before the short form of another. Where all ports
/// are served, a name without a port means port 80.
fn virtual_hosts(candidates: Vec<Candidate>, all_ports: bool, origins: &mut BTreeSet<ObjectRef>) -> Vec<VirtualHostInputs> {
    let mut names = BTreeSet::new();
    let exact: BTreeSet<String> = candidates.iter().map(|candidate| candidate.name.to_string()).collect();
    let mut taken = BTreeSet::new();
    let mut out = Vec::new();
    for candidate in candidates {
        let own = candidate.name.to_string();
        if names.contains(&(own.clone(), candidate.port)) {
            continue;
        }
        let free = |domain: &String| {
            (*domain == own || !exact.contains(domain))
                && (!all_ports || candidate.port == 80 || has_port(domain))
                && taken.insert(domain.to_lowercase())
        };
        let domains: Vec<String> = candidate.domains.into_iter().filter(free).collect();
        if domains.is_empty() {
            continue;
        }
        names.insert((own.clone(), candidate.port));
        origins.extend(candidate.origins);
        out.push(VirtualHostInputs { host: own, port: candidate.port, domains, routes: candidate.routes, https_redirect: false });
    }
    out
}

fn has_port(domain: &str) -> bool {
    domain.rsplit_once(':').is_some_and(|(_, port)| port.parse::<PortNumber>().is_ok())
}

/// What happens to requests for unknown hosts.
fn catch_all(view: &View<'_>) -> xds_api::envoy::config::route::v3::VirtualHost {
    let Scope::Sidecar(scope) = view.scope else { return route::block_all() };
    match &scope.outbound_policy {
        OutboundPolicy::AllowAny => route::allow_any(route::names::PASSTHROUGH_CLUSTER),
        OutboundPolicy::AllowAnyDynamicDns => route::allow_any_dynamic_dns(),
        OutboundPolicy::RegistryOnly => route::block_all(),
        OutboundPolicy::EgressProxy(proxy) => {
            let port = proxy.port.as_ref().and_then(|port| PortNumber::try_from(port.number).ok()).unwrap_or_default();
            let host = Hostname::resolve(&proxy.host, view.class.namespace.as_str(), view.snapshot.domain.as_str());
            route::allow_any(&route::names::outbound_cluster(port, &proxy.subset, host.as_str()))
        }
    }
}

/// Which route configurations the class's listeners refer to, each with its listener.
pub fn names<'a>(view: &View<'_>, egress: &'a [EgressListener]) -> BTreeMap<RouteName, &'a EgressListener> {
    let mut out = BTreeMap::new();
    for listener in egress {
        if let Some(port) = &listener.port {
            if Protocol::parse(&port.protocol).is_http() {
                out.entry(of_listener(listener, PortNumber::try_from(port.number).unwrap_or_default())).or_insert(listener);
            }
            continue;
        }
        if outbound::http_proxy_port(view).is_some() {
            out.entry(RouteName::HttpProxy).or_insert(listener);
        }
        let services = listener.services.iter().filter(|service| !matches!(service.resolution, Resolution::Alias(_)));
        for (service, port) in services.flat_map(|service| service.ports.iter().map(move |port| (service, port))) {
            if port.protocol.is_http() {
                out.entry(RouteName::Port(port.number)).or_insert(listener);
            } else if port.protocol.is_unsupported() {
                for (bind, _) in outbound::binds(view, listener, service, port) {
                    out.entry(outbound::sniffed_route(view, &bind, service, port)).or_insert(listener);
                }
            }
        }
    }
    out
}

/// The route configuration of a Sidecar's listener with a port of its own, or on a Unix socket.
pub fn of_listener(listener: &EgressListener, port: PortNumber) -> RouteName {
    if port == 0 { RouteName::Unix(listener.bind.clone()) } else { RouteName::Port(port) }
}
