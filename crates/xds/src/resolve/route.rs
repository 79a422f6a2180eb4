//! The virtual hosts of a sidecar's route configurations: which rule owns which name.

use super::{Scope, View, destination, domains};
use base::{ClusterId, Hostname, ObjectRef, PortNumber, Protocol};
use bytes::Bytes;
use envoy::route::{self, DefaultRouteInputs, HttpRouteInputs, RouteClient, RouteConfigurationInputs, RouteDefaults, RouteSemantics};
use model::{EgressListener, MESH_GATEWAY, OutboundPolicy, VirtualService};
use registry::Service;
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
}

impl RouteName {
    /// The name on the wire.
    pub fn text(&self) -> String {
        match self {
            Self::Port(port) => route::names::port_route_configuration(*port),
            Self::Service(host, port) => route::names::service_route_configuration(host.as_str(), *port),
        }
    }

    fn port(&self) -> PortNumber {
        match self {
            Self::Port(port) | Self::Service(_, port) => *port,
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
    let mut services = services_by_host(listener, name);
    let mut candidates = Vec::new();
    for vs in listener.virtual_services.iter().filter(|vs| !vs.spec.http.is_empty()) {
        let owned = take_owned(&mut services, listener, vs);
        candidates.extend(of_virtual_service(view, vs, owned, name, &mut services));
    }
    let remaining = services.values().flat_map(|(service, port)| of_service(view, service, *port));
    candidates.extend(remaining.collect::<Vec<_>>());
    let mut origins = BTreeSet::new();
    let mut chunks = encode(candidates, &mut origins);
    if let RouteName::Port(_) = name {
        chunks.push(route::encode_virtual_host(&catch_all(view)));
    }
    let text = name.text();
    let inputs = RouteConfigurationInputs { name: &text, ignore_port_in_host_matching: true, virtual_hosts: &chunks };
    (route::route_configuration(&inputs), origins.into_iter().collect())
}

type ServicesByHost = BTreeMap<Hostname, (Arc<Service>, PortNumber)>;

/// The services that this route configuration is about.
fn services_by_host(listener: &EgressListener, name: &RouteName) -> ServicesByHost {
    let mut out = ServicesByHost::new();
    for service in &listener.services {
        if let RouteName::Service(host, _) = name
            && service.key.hostname != *host
        {
            continue;
        }
        let remapped = listener.port.is_some() && service.ports.len() == 1;
        let port = service.port(name.port()).or_else(|| service.ports.first().filter(|_| remapped));
        if let Some(port) = port.filter(|port| port.protocol.is_http() || port.protocol.is_unsupported()) {
            out.entry(service.key.hostname.clone()).or_insert_with(|| (service.clone(), port.number));
        }
    }
    out
}

/// The services whose name `vs` owns here: named exactly, or by the most specific wildcard of all rules.
fn take_owned(services: &mut ServicesByHost, listener: &EgressListener, vs: &Arc<VirtualService>) -> Vec<(Arc<Service>, PortNumber)> {
    let mut owned = Vec::new();
    for host in &vs.hosts {
        if host.is_wildcard() {
            let matching: Vec<Hostname> =
                services.keys().filter(|name| name.subset_of(host) && owns(listener, vs, name)).cloned().collect();
            owned.extend(matching.iter().filter_map(|name| services.remove(name)));
        } else if let Some(found) = services.remove(host) {
            owned.push(found);
        }
    }
    owned
}

/// Whether `vs` has the most specific host for `name`; among equals the first of the listener's rules.
fn owns(listener: &EgressListener, vs: &Arc<VirtualService>, name: &Hostname) -> bool {
    let candidates = listener.virtual_services.iter().flat_map(|vs| vs.hosts.iter().map(move |host| (host, vs)));
    let best = candidates.filter(|(host, _)| name.subset_of(host)).min_by(|(a, _), (b, _)| a.specificity(b));
    best.is_some_and(|(_, owner)| Arc::ptr_eq(owner, vs))
}

/// The virtual hosts of one rule: one for each service that it owns, and one for each of its hosts that no service has,
/// which only port 80 serves unless the rule also owns a service here (Istio's `buildSidecarVirtualHostsForVirtualService`).
fn of_virtual_service(
    view: &View<'_>,
    vs: &Arc<VirtualService>,
    owned: Vec<(Arc<Service>, PortNumber)>,
    name: &RouteName,
    services: &mut ServicesByHost,
) -> Vec<Candidate> {
    let known = |host: &&Hostname| !owned.iter().any(|(service, _)| service.key.hostname.subset_of(host));
    let foreign: Vec<&Hostname> = match name {
        RouteName::Port(port) if *port == 80 || !owned.is_empty() => {
            vs.hosts.iter().filter(known).filter(|host| !claimed(view, host)).collect()
        }
        _ => Vec::new(),
    };
    let mut ports: BTreeMap<PortNumber, Vec<Arc<Service>>> = BTreeMap::new();
    for (service, port) in &owned {
        ports.entry(*port).or_default().push(service.clone());
    }
    if ports.is_empty() && !foreign.is_empty() {
        ports.insert(name.port(), Vec::new());
    }
    let mut out = Vec::new();
    for (port, members) in ports {
        let (routes, origins) = routes(view, vs, port, &BTreeSet::from([MESH_GATEWAY.to_string()]), false);
        if routes.is_empty() {
            // Nothing of the rule is for this client: its services go without it.
            services.extend(members.into_iter().map(|service| (service.key.hostname.clone(), (service, port))));
            continue;
        }
        for host in &foreign {
            out.push(Candidate {
                name: (*host).clone(),
                port,
                domains: vec![host.to_string()],
                routes: routes.clone(),
                origins: origins.clone(),
            });
        }
        for service in members {
            let domains = domains::of_service(&service, &view.class.dns_domain, &view.class.cluster);
            let mut origins = origins.clone();
            origins.push(service.origin.clone());
            out.push(Candidate { name: service.key.hostname.clone(), port, domains, routes: routes.clone(), origins });
        }
    }
    out
}

/// Whether a visible service has this name on some port: it is then no name of the rule's own.
fn claimed(view: &View<'_>, host: &Hostname) -> bool {
    !host.is_wildcard() && view.service(host).is_some()
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
    (routes, vec![vs.origin.clone()])
}

fn defaults(view: &View<'_>) -> RouteDefaults {
    let mesh = &view.snapshot.mesh;
    RouteDefaults { retries: mesh.default_http_retry_policy.clone(), inbound_retries: mesh.default_inbound_http_retry_policy.clone() }
}

/// A service without a rule.
fn of_service(view: &View<'_>, service: &Arc<Service>, port: PortNumber) -> Option<Candidate> {
    let target = destination::concrete(view, &service.key.hostname)?;
    let rule = view.destination_rule(target);
    let hash = rule.and_then(|rule| destination::consistent_hash(rule, port, ""));
    let retries = view.snapshot.mesh.default_http_retry_policy.as_ref();
    let route = route::default_route(&DefaultRouteInputs { hostname: target.key.hostname.as_str(), port, retries, hash: hash.as_ref() });
    let mut origins = vec![service.origin.clone()];
    origins.extend(rule.into_iter().flat_map(|rule| rule.origins.iter().cloned()));
    let domains = domains::of_service(service, &view.class.dns_domain, &view.class.cluster);
    Some(Candidate { name: service.key.hostname.clone(), port, domains, routes: vec![route], origins })
}

/// Encodes the virtual hosts. A domain belongs to the first that claims it: Envoy would refuse the whole configuration
/// if two did. An exact name of a service goes before the short form of another.
fn encode(candidates: Vec<Candidate>, origins: &mut BTreeSet<ObjectRef>) -> Vec<Bytes> {
    let mut names = BTreeSet::new();
    let exact: BTreeSet<String> = candidates.iter().map(|candidate| candidate.name.to_string()).collect();
    let mut taken = BTreeSet::new();
    let mut out = Vec::new();
    for candidate in candidates {
        let own = candidate.name.to_string();
        let domains: Vec<String> = candidate
            .domains
            .into_iter()
            .filter(|domain| (*domain == own || !exact.contains(domain)) && taken.insert(domain.clone()))
            .collect();
        if domains.is_empty() || !names.insert((own.clone(), candidate.port)) {
            continue;
        }
        origins.extend(candidate.origins);
        let inputs = route::VirtualHostInputs { host: own, port: candidate.port, domains, routes: candidate.routes, https_redirect: false };
        out.push(route::encode_virtual_host(&route::virtual_host(inputs)));
    }
    out
}

/// What happens to requests for unknown hosts.
fn catch_all(view: &View<'_>) -> xds_api::envoy::config::route::v3::VirtualHost {
    let Scope::Sidecar(scope) = view.scope else { return route::block_all() };
    match &scope.outbound_policy {
        OutboundPolicy::AllowAny => route::allow_any(route::names::PASSTHROUGH_CLUSTER),
        OutboundPolicy::RegistryOnly => route::block_all(),
        OutboundPolicy::EgressProxy(proxy) => {
            let port = proxy.port.as_ref().and_then(|port| PortNumber::try_from(port.number).ok()).unwrap_or_default();
            let host = Hostname::resolve(&proxy.host, view.class.namespace.as_str(), view.snapshot.domain.as_str());
            route::allow_any(&route::names::outbound_cluster(port, &proxy.subset, host.as_str()))
        }
    }
}

/// Which route configurations the class's listeners refer to, each with its listener.
pub fn names<'a>(egress: &'a [EgressListener], cluster: &ClusterId) -> BTreeMap<RouteName, &'a EgressListener> {
    let mut out = BTreeMap::new();
    for listener in egress {
        if let Some(port) = &listener.port {
            let protocol = Protocol::parse(&port.protocol);
            if let (Ok(number), true) = (PortNumber::try_from(port.number), protocol.is_http()) {
                out.entry(RouteName::Port(number)).or_insert(listener);
            }
            continue;
        }
        for (service, port) in listener.services.iter().flat_map(|service| service.ports.iter().map(move |port| (service, port))) {
            if port.protocol.is_http() {
                out.entry(RouteName::Port(port.number)).or_insert(listener);
            } else if port.protocol.is_unsupported() {
                let own = listener.bind.is_empty() && service.addresses_in(cluster).iter().any(|address| address.is_host());
                let name = if own || service.headless {
                    RouteName::Service(service.key.hostname.clone(), port.number)
                } else {
                    RouteName::Port(port.number)
                };
                out.entry(name).or_insert(listener);
            }
        }
    }
    out
}
