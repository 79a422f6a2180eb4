//! The virtual hosts of a sidecar's route configurations: which rule owns which name.

use super::{
    View, destination, domains, options, outbound,
    virtual_host::{Candidate, RouteRows, RoutesInputs},
};
use base::{Hostname, Labels, ObjectRef, PortNumber, Protocol};
use envoy::route::{self, HttpRouteInputs, RouteClient, RouteDefaults, RouteSemantics};
use model::{EgressListener, VirtualService};
use registry::{Resolution, Service, ServicePort};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};
use xds_api::envoy::config::route::v3::Route;

/// One route configuration of a sidecar.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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
    pub fn port(&self, listener: &EgressListener) -> Option<PortNumber> {
        let proxy = listener.port.as_ref().is_some_and(|port| Protocol::parse(&port.protocol) == Protocol::HttpProxy);
        match self {
            Self::Port(port) | Self::Service(_, port) => Some(*port).filter(|_| !proxy),
            Self::HttpProxy | Self::Unix(_) => None,
        }
    }
}

/// Where a virtual host is to stand.
pub struct Place<'a> {
    /// Behind which listener.
    pub listener: &'a EgressListener,
    /// In which route configuration.
    pub name: &'a RouteName,
}

/// A service, with those of its ports that are routed by HTTP rules: none for a service that only has opaque ports here,
/// which is known all the same.
type ServiceRow<'a> = (&'a Arc<Service>, Vec<PortNumber>);

impl<'a> Place<'a> {
    /// The port that is served; `None` for all ports.
    pub fn port(&self) -> Option<PortNumber> {
        self.name.port(self.listener)
    }

    /// The service of this name, if the route configuration is about it.
    fn service(&self, view: &View<'_>, host: &Hostname) -> Option<ServiceRow<'a>> {
        view.reads.record(host);
        self.row(self.listener.by_host.get(host)?)
    }

    fn row(&self, service: &'a Arc<Service>) -> Option<ServiceRow<'a>> {
        if matches!(service.resolution, Resolution::Alias(_)) {
            return None;
        }
        if let RouteName::Service(host, _) = self.name
            && service.key.hostname != *host
        {
            return None;
        }
        let remapped = self.listener.port.is_some() && service.ports.len() == 1;
        let ports: Vec<&ServicePort> = match self.port() {
            Some(port) => service.port(port).or_else(|| service.ports.first().filter(|_| remapped)).into_iter().collect(),
            None => service.ports.iter().collect(),
        };
        let routed = ports.iter().filter(|port| port.protocol.is_http() || port.protocol.is_unsupported());
        (!ports.is_empty()).then(|| (service, routed.map(|port| port.number).collect()))
    }

    /// The services that `vs` rules here, named exactly or by the most specific wildcard of all rules, and its hosts that
    /// are no service (Istio's `separateVSHostsAndServices`).
    fn separate<'b>(&self, view: &View<'_>, vs: &'b Arc<VirtualService>) -> (Vec<ServiceRow<'a>>, Vec<&'b Hostname>) {
        let (mut owned, mut foreign) = (Vec::new(), Vec::new());
        for host in &vs.hosts {
            if host.is_wildcard() {
                let known = self.listener.by_host.iter().filter(|(name, _)| host.matches(name));
                let mut known = known.filter_map(|(name, service)| Some((name, self.row(service)?))).peekable();
                if known.peek().is_none() {
                    foreign.push(host);
                }
                owned.extend(known.filter(|(name, _)| owns(self.listener, vs, name)).map(|(_, row)| row));
            } else {
                match self.service(view, host) {
                    Some(row) => owned.push(row),
                    None => foreign.push(host),
                }
            }
        }
        (owned, foreign)
    }
}

/// Whether `vs` has the most specific host for `name`; among equals the first of the listener's rules.
fn owns(listener: &EgressListener, vs: &Arc<VirtualService>, name: &Hostname) -> bool {
    let candidates = listener.virtual_services.iter().flat_map(|vs| vs.hosts.iter().map(move |host| (host, vs)));
    let best = candidates.filter(|(host, _)| name.subset_of(host)).min_by(|(a, _), (b, _)| a.specificity(b));
    best.is_some_and(|(_, owner)| Arc::ptr_eq(owner, vs))
}

/// The virtual hosts of one rule: one for each service that it rules, and one for each of its hosts that no service has,
/// which only port 80 serves unless the rule also rules a service here (Istio's `buildSidecarVirtualHostsForVirtualService`).
pub fn of_virtual_service(view: &View<'_>, place: &Place<'_>, vs: &Arc<VirtualService>, rows: &mut RouteRows) -> Vec<Candidate> {
    let mut out = Vec::new();
    let (owned, mut foreign) = place.separate(view, vs);
    if matches!(place.name, RouteName::Service(..)) {
        foreign.clear();
    }
    let mut ports: BTreeMap<PortNumber, Vec<&Arc<Service>>> = BTreeMap::new();
    for (service, numbers) in owned {
        numbers.iter().for_each(|port| ports.entry(*port).or_default().push(service));
    }
    let all_ports = place.port().is_none();
    if ports.is_empty() && !foreign.is_empty() && (all_ports || *place.name == RouteName::Port(80)) {
        ports.insert(80, Vec::new());
    }
    let counts_attempts = options::counts_attempts(view);
    for (port, members) in ports {
        let routes = rows.of_rule(RoutesInputs::new(view, vs, port));
        if routes.is_empty() {
            // Nothing of the rule is for this client: its services go without it.
            continue;
        }
        let from: Vec<ObjectRef> = origins(vs).collect();
        for host in &foreign {
            let domains = vec![host.to_string()];
            let (name, routes, origins) = ((*host).clone(), routes.clone(), from.clone());
            out.push(Candidate { name, port, domains, routes, counts_attempts, origins });
        }
        for service in members {
            let domains = domains::of_service(view, service, all_ports.then_some(port));
            let mut origins = from.clone();
            origins.push(service.origin.clone());
            out.push(Candidate { name: service.key.hostname.clone(), port, domains, routes: routes.clone(), counts_attempts, origins });
        }
    }
    out
}

/// The virtual hosts of a service without a rule, one for each of its ports.
pub fn of_service(view: &View<'_>, place: &Place<'_>, service: &Arc<Service>, rows: &mut RouteRows) -> Vec<Candidate> {
    let (service, ports) = place.service(view, &service.key.hostname).unwrap_or((service, Vec::new()));
    ports.into_iter().filter_map(|port| default(view, place, service, port, rows)).collect()
}

fn default(view: &View<'_>, place: &Place<'_>, service: &Arc<Service>, port: PortNumber, rows: &mut RouteRows) -> Option<Candidate> {
    let target = destination::concrete(view, &service.key.hostname)?;
    let rule = view.destination_rule(target);
    let hash = rule.and_then(|rule| destination::consistent_hash(rule, port, ""));
    let routes = rows.of_service(&target.key.hostname, port, &view.snapshot.mesh, (hash, destination::session(view, target)));
    let mut origins = vec![service.origin.clone()];
    origins.extend(rule.into_iter().flat_map(|rule| rule.origins.iter().cloned()));
    let domains = domains::of_service(view, service, place.port().is_none().then_some(port));
    let counts_attempts = options::counts_attempts(view);
    Some(Candidate { name: service.key.hostname.clone(), port, domains, routes, counts_attempts, origins })
}

/// The routes of a rule for a gateway, with the objects that they come from.
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
        semantics: semantics(vs),
        listener_port: port,
        tls,
        client: client(view, vs),
        gateways,
        destinations: &destinations,
        defaults: &defaults,
    };
    let (routes, _) = route::http_routes(&inputs);
    (routes, origins(vs).collect())
}

/// The object itself, and those that it delegates to.
fn origins(vs: &VirtualService) -> impl Iterator<Item = ObjectRef> {
    std::iter::once(&vs.origin).chain(&vs.delegates).cloned()
}

/// The client, as far as any match of the rule asks who it is: clients of all namespaces share the routes of a rule that
/// does not.
pub fn client<'a>(view: &View<'a>, vs: &VirtualService) -> RouteClient<'a> {
    static NO_LABELS: LazyLock<Labels> = LazyLock::new(Labels::default);
    let mut matches = vs.spec.http.iter().flat_map(|http| &http.matches);
    let asks = matches.any(|request| !request.source_labels.is_empty() || !request.source_namespace.is_empty());
    if asks {
        RouteClient { labels: &view.class.labels, namespace: view.class.namespace.as_str() }
    } else {
        RouteClient { labels: &NO_LABELS, namespace: "" }
    }
}

/// The builder's spelling.
pub fn semantics(vs: &VirtualService) -> RouteSemantics {
    match vs.semantics {
        model::Semantics::VirtualService => RouteSemantics::VirtualService,
        model::Semantics::Ingress => RouteSemantics::Ingress,
        model::Semantics::GatewayApi => RouteSemantics::GatewayApi,
    }
}

/// What the mesh's settings say about routes.
pub fn defaults(view: &View<'_>) -> RouteDefaults {
    let mesh = &view.snapshot.mesh;
    let forwarded = view.proxy_config().proxy_headers.as_ref().and_then(|headers| headers.x_forwarded_host.as_ref());
    RouteDefaults {
        retries: mesh.default_http_retry_policy.clone(),
        inbound_retries: mesh.default_inbound_http_retry_policy.clone(),
        shadow_host_suffix: view.snapshot.features.shadow_host_suffix,
        forwards_host: forwarded.is_some_and(|header| header.enabled == Some(true)),
    }
}

/// Which route configurations the class's listeners refer to, each with the number of its listener.
pub fn names(view: &View<'_>, egress: &[EgressListener]) -> BTreeMap<RouteName, usize> {
    let mut out = BTreeMap::new();
    for (index, listener) in egress.iter().enumerate() {
        if let Some(port) = &listener.port {
            if Protocol::parse(&port.protocol).is_http() {
                out.entry(of_listener(listener, PortNumber::try_from(port.number).unwrap_or_default())).or_insert(index);
            }
            continue;
        }
        if outbound::http_proxy_port(view).is_some() {
            out.entry(RouteName::HttpProxy).or_insert(index);
        }
        let services = listener.services.iter().filter(|service| !matches!(service.resolution, Resolution::Alias(_)));
        for (service, port) in services.flat_map(|service| service.ports.iter().map(move |port| (service, port))) {
            if port.protocol.is_http() {
                out.entry(RouteName::Port(port.number)).or_insert(index);
            } else if port.protocol.is_unsupported() {
                for (bind, _) in outbound::binds(view, listener, service, port) {
                    out.entry(outbound::sniffed_route(view, &bind, service, port)).or_insert(index);
                }
            }
        }
    }
    out
}

/// Where the virtual hosts of a service may stand behind a listener, should these route configurations exist.
pub fn places(listener: &EgressListener, service: &Service, found: &mut dyn FnMut(RouteName)) {
    if matches!(service.resolution, Resolution::Alias(_)) {
        return;
    }
    if let Some(port) = &listener.port {
        found(of_listener(listener, PortNumber::try_from(port.number).unwrap_or_default()));
        return;
    }
    for port in &service.ports {
        if port.protocol.is_unsupported() {
            found(RouteName::Service(service.key.hostname.clone(), port.number));
        }
        if port.protocol.is_unsupported() || port.protocol.is_http() {
            found(RouteName::Port(port.number));
        }
    }
    found(RouteName::HttpProxy);
}

/// Where the virtual hosts of a rule may stand: where its services do, and those of other hosts on port 80.
pub fn places_of_rule(view: &View<'_>, listener: &EgressListener, vs: &VirtualService, out: &mut BTreeSet<RouteName>) {
    for host in &vs.hosts {
        let mut add = |service: &Service| places(listener, service, &mut |name| out.extend([name]));
        if host.is_wildcard() {
            listener.by_host.iter().filter(|(name, _)| host.matches(name)).for_each(|(_, service)| add(service));
        } else {
            view.reads.record(host);
            listener.by_host.get(host).into_iter().for_each(|service| add(service));
        }
    }
    match &listener.port {
        Some(port) => out.extend([of_listener(listener, PortNumber::try_from(port.number).unwrap_or_default())]),
        None => out.extend([RouteName::Port(80), RouteName::HttpProxy]),
    }
}

/// The route configuration of a Sidecar's listener with a port of its own, or on a Unix socket.
pub fn of_listener(listener: &EgressListener, port: PortNumber) -> RouteName {
    if port == 0 { RouteName::Unix(listener.bind.clone()) } else { RouteName::Port(port) }
}
