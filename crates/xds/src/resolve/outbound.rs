//! A sidecar's outbound listeners: which services share an address and port, and what becomes of conflicts.

use super::{View, cluster, opaque, options, route, route::RouteName};
use crate::generate::Built;
use base::{Cidr, PortNumber, Protocol};
use envoy::access_log::Reporter;
use envoy::cluster::DnsCache;
use envoy::filter::{http::dynamic_forward_proxy::dynamic_forward_proxy, order::HttpFilterPosition};
use envoy::listener::{
    self, Bind, OutboundAction, OutboundChain, OutboundFallback, OutboundListenerInputs, OutboundPolicy, ProxyOptions,
    VirtualOutboundInputs,
};
use envoy::route::names;
use istio_api::networking::sidecar::CaptureMode;
use model::{EgressListener, InterceptionMode, SidecarScope};
use registry::{Provider, Resolution, Service, ServicePort};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};
use xds_api::Wire;

/// Ports that a listener on all addresses must not take from the proxy itself: its status, metrics and capture ports.
const RESERVED: [PortNumber; 4] = [15001, 15006, 15021, 15090];

/// One listener without what is the same for all of a class; while it is made, services add chains to it.
#[derive(Default, PartialEq)]
pub struct Draft {
    chains: Vec<OutboundChain>,
    bind_to_port: bool,
    /// Where its HTTP chains look names up.
    caches: Vec<DnsCache>,
    origins: BTreeSet<base::ObjectRef>,
    protocol: Option<Protocol>,
}

impl Draft {
    /// Whether a port of this protocol may join. HTTP and TCP on one address are told apart by their first bytes, for which
    /// a client of MongoDB or MySQL would wait in vain: the older service keeps the address (Istio's
    /// `isConflictWithWellKnownPort`).
    fn admits(&mut self, protocol: Protocol) -> bool {
        let first = *self.protocol.get_or_insert(protocol);
        let sort = |protocol: Protocol| (protocol.is_http(), protocol.is_unsupported());
        let server_first = |protocol| matches!(protocol, Protocol::Mongo | Protocol::MySql);
        sort(first) == sort(protocol) || !(server_first(first) || server_first(protocol))
    }
}

/// The listeners of a part.
pub fn drafts(view: &View<'_>, scope: &SidecarScope) -> BTreeMap<Bind, Draft> {
    let mut drafts: BTreeMap<Bind, Draft> = BTreeMap::new();
    let mut locked = BTreeSet::new();
    for egress in &scope.egress {
        match &egress.port {
            Some(port) => explicit(view, egress, PortNumber::try_from(port.number).unwrap_or_default(), &mut drafts, &mut locked),
            None => by_service(view, egress, &mut drafts, &locked),
        }
    }
    if let Some(port) = http_proxy_port(view) {
        http_proxy(view, port, &mut drafts);
    }
    drafts
}

/// What is the same for all outbound listeners of a class.
pub struct Frame {
    policy: OutboundPolicy,
    options: ProxyOptions,
}

impl Frame {
    /// That of the class.
    pub fn of(view: &View<'_>, scope: &SidecarScope) -> Self {
        let policy = policy(view, scope);
        let mut options = options::of(view, Reporter::Source);
        if policy == OutboundPolicy::AllowAnyDynamicDns {
            resolve_names(&mut options, &DnsCache::allow_any(cluster::families(view.class.families)));
        }
        Self { policy, options }
    }
}

/// The listeners of a class that no service has.
pub fn fixed(view: &View<'_>, Frame { policy, options }: &Frame) -> Vec<Built> {
    let mut out: Vec<Built> = tunnel(view).into_iter().collect();
    if view.class.interception != InterceptionMode::None {
        let (wildcards, _) = options::addresses(view.class.families);
        let bind = bind_all(&wildcards, port_or(view.snapshot.mesh.proxy_listen_port, listener::names::VIRTUAL_OUTBOUND_PORT));
        let transparent = view.class.interception == InterceptionMode::Tproxy;
        let listener = listener::virtual_outbound(&VirtualOutboundInputs { bind: &bind, policy, transparent, options });
        out.push((listener.name.clone(), listener.to_bytes(), Arc::from([])));
    }
    out
}

/// The listener that speaks HBONE, for proxies that send it.
pub fn tunnel(view: &View<'_>) -> Option<Built> {
    let listener = view.class.hbone.then(listener::connect_originate_listener)?;
    Some((listener.name.clone(), listener.to_bytes(), Arc::from([])))
}

/// The listener of a draft.
pub fn listener(bind: &Bind, draft: &Draft, Frame { policy, options }: &Frame) -> Built {
    let fallback = if draft.bind_to_port { OutboundFallback::Close } else { OutboundFallback::Policy(policy) };
    let mut own = None;
    if !draft.caches.is_empty() {
        let options = own.insert(options.clone());
        draft.caches.iter().for_each(|cache| resolve_names(options, cache));
    }
    let options = own.as_ref().unwrap_or(options);
    let inputs = OutboundListenerInputs { bind, bind_to_port: draft.bind_to_port, chains: &draft.chains, fallback, options };
    let listener = listener::outbound_listener(&inputs);
    (listener.name.clone(), listener.to_bytes(), Arc::from(draft.origins.iter().cloned().collect::<Vec<_>>()))
}

/// Lets the HTTP chains look names up that their cluster needs.
fn resolve_names(options: &mut ProxyOptions, cache: &DnsCache) {
    options.http.filters.push((HttpFilterPosition::DynamicForwardProxy, dynamic_forward_proxy(cache)));
}

/// The port of the explicit HTTP proxy: that of the proxy, else of the mesh; neither is none.
pub fn http_proxy_port(view: &View<'_>) -> Option<PortNumber> {
    let own = Some(view.class.http_proxy_port).filter(|port| *port != 0);
    own.or_else(|| PortNumber::try_from(view.snapshot.mesh.proxy_http_port).ok().filter(|port| *port != 0))
}

/// The explicit HTTP proxy, for the workload alone.
fn http_proxy(view: &View<'_>, port: PortNumber, drafts: &mut BTreeMap<Bind, Draft>) {
    let (_, loopbacks) = options::addresses(view.class.families);
    let chain = http(RouteName::HttpProxy.text(), Protocol::HttpProxy);
    drafts.insert(bind_all(&loopbacks, port), Draft { chains: vec![chain], bind_to_port: true, ..Draft::default() });
}

/// A port of the mesh's settings, if it is one.
pub fn port_or(configured: i32, default: PortNumber) -> PortNumber {
    PortNumber::try_from(configured).ok().filter(|port| *port != 0).unwrap_or(default)
}

/// The first address names the listener, the others are further addresses of it.
pub fn bind_all(addresses: &[IpAddr], port: PortNumber) -> Bind {
    let address = addresses.first().copied().unwrap_or(IpAddr::from(std::net::Ipv4Addr::UNSPECIFIED));
    Bind::Ip { address, additional: addresses.iter().skip(1).copied().collect(), port }
}

fn policy(view: &View<'_>, scope: &SidecarScope) -> OutboundPolicy {
    match &scope.outbound_policy {
        model::OutboundPolicy::AllowAny => OutboundPolicy::AllowAny,
        model::OutboundPolicy::AllowAnyDynamicDns => OutboundPolicy::AllowAnyDynamicDns,
        model::OutboundPolicy::RegistryOnly => OutboundPolicy::RegistryOnly,
        model::OutboundPolicy::EgressProxy(proxy) => {
            let port = proxy.port.as_ref().and_then(|port| PortNumber::try_from(port.number).ok()).unwrap_or_default();
            let host = base::Hostname::resolve(&proxy.host, view.class.namespace.as_str(), view.snapshot.domain.as_str());
            OutboundPolicy::EgressProxy(names::outbound_cluster(port, &proxy.subset, host.as_str()))
        }
    }
}

/// An egress listener with a port of its own: all services it sees stand behind this one address.
fn explicit(view: &View<'_>, egress: &EgressListener, port: PortNumber, drafts: &mut BTreeMap<Bind, Draft>, locked: &mut BTreeSet<Bind>) {
    let bind_to_port = binds_to_port(view, egress);
    let (wildcards, loopbacks) = options::addresses(view.class.families);
    let Some(bind) = listener::sidecar_egress_bind(&egress.bind, port, bind_to_port, &wildcards, &loopbacks) else { return };
    if egress.services.is_empty() || !locked.insert(bind.clone()) {
        return;
    }
    let protocol = egress.port.as_ref().map_or(Protocol::Unsupported, |port| Protocol::parse(&port.protocol));
    let draft = drafts.entry(bind).or_default();
    draft.bind_to_port = bind_to_port;
    if protocol.is_http() {
        draft.chains.push(http(route::of_listener(egress, port).text(), protocol));
        egress.services.iter().for_each(|service| add_cache(view, service, draft));
        return;
    }
    for service in &*egress.services {
        let Some(own) = service.port(port).or_else(|| service.ports.first()) else { continue };
        let chains = opaque::chains(view, egress, service, own, protocol, &Reach::All);
        draft.origins.insert(service.origin.clone());
        draft.chains.extend(chains);
    }
}

/// The listener without a port: one for each port of each service, at its address or at all.
fn by_service(view: &View<'_>, egress: &EgressListener, drafts: &mut BTreeMap<Bind, Draft>, locked: &BTreeSet<Bind>) {
    let bind_to_port = binds_to_port(view, egress);
    for service in &*egress.services {
        if matches!(service.resolution, Resolution::Alias(_)) {
            continue;
        }
        for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            if bind_to_port && view.class.unprivileged && port.number < 1024 {
                continue;
            }
            for (bind, reach) in binds(view, egress, service, port).into_iter().filter(|(bind, _)| !locked.contains(bind)) {
                let route = sniffed_route(view, &bind, service, port);
                let draft = drafts.entry(bind).or_default();
                draft.bind_to_port = bind_to_port;
                if draft.admits(port.protocol) {
                    add(view, egress, service, port, &reach, route, draft);
                }
            }
        }
    }
}

/// Which destinations a chain is for.
pub enum Reach {
    /// All that reach the listener.
    All,
    /// Addresses within a range, on a listener for all addresses.
    Range(Cidr),
    /// The service's own address: no further match is needed.
    Own,
}

/// Whether an egress listener has a socket of its own.
fn binds_to_port(view: &View<'_>, egress: &EgressListener) -> bool {
    let untouched = view.class.interception == InterceptionMode::None;
    egress.capture == CaptureMode::None || (egress.capture == CaptureMode::Default && untouched)
}

/// The route configuration of a service whose protocol is sniffed: its own where it has an address of its own, that of
/// the port where all services share one.
pub fn sniffed_route(view: &View<'_>, bind: &Bind, service: &Service, port: &ServicePort) -> RouteName {
    let (wildcards, _) = options::addresses(view.class.families);
    if *bind == bind_all(&wildcards, port.number) {
        RouteName::Port(port.number)
    } else {
        RouteName::Service(service.key.hostname.clone(), port.number)
    }
}

/// Where a port of a service is listened for.
pub fn binds(view: &View<'_>, egress: &EgressListener, service: &Service, port: &ServicePort) -> Vec<(Bind, Reach)> {
    let bind_to_port = binds_to_port(view, egress);
    let (wildcards, loopbacks) = options::addresses(view.class.families);
    if bind_to_port || !egress.bind.is_empty() {
        let bind = listener::sidecar_egress_bind(&egress.bind, port.number, bind_to_port, &wildcards, &loopbacks);
        return bind.into_iter().map(|bind| (bind, Reach::All)).collect();
    }
    let all = || (bind_all(&wildcards, port.number), Reach::All);
    if port.protocol.is_http() {
        return if RESERVED.contains(&port.number) { Vec::new() } else { vec![all()] };
    }
    let mut out = Vec::new();
    for range in view.addresses(service) {
        if range.0.addr().is_unspecified() {
            continue;
        }
        if range.is_host() {
            out.push((Bind::ip(range.0.addr(), port.number), Reach::Own));
        } else {
            out.push((bind_all(&wildcards, port.number), Reach::Range(range)));
        }
    }
    if out.is_empty() && service.headless && service.provider == Provider::Kubernetes {
        return headless(view, service, port, &wildcards);
    }
    if out.is_empty() && !RESERVED.contains(&port.number) {
        out.push(all());
    }
    out
}

/// A headless service has a listener for each of its pods, except for the proxy's own; or a chain for each on a listener for
/// all (`PILOT_ENABLE_HEADLESS_FILTER_CHAIN_LISTENER`).
fn headless(view: &View<'_>, service: &Service, port: &ServicePort, wildcards: &[IpAddr]) -> Vec<(Bind, Reach)> {
    let endpoints = view.endpoints_of(&service.key).iter().filter(|endpoint| endpoint.serves(&port.name, port.number));
    let pods: BTreeSet<Vec<IpAddr>> = endpoints
        .map(|endpoint| endpoint.addresses().collect::<Vec<_>>())
        .filter(|addresses| !addresses.is_empty() && !addresses.iter().any(|address| view.class.addresses.contains(address)))
        .collect();
    if view.snapshot.features.headless_filter_chains && !RESERVED.contains(&port.number) {
        let addresses: BTreeSet<IpAddr> = pods.into_iter().flatten().collect();
        return addresses.into_iter().map(|address| (bind_all(wildcards, port.number), Reach::Range(address.into()))).collect();
    }
    pods.into_iter().map(|addresses| (bind_all(&addresses, port.number), Reach::Own)).collect()
}

/// Adds a port's chains. Several HTTP ports are one chain, whose routes tell the services apart; TCP beside HTTP makes
/// the listener look at the first bytes.
fn add(
    view: &View<'_>,
    egress: &EgressListener,
    service: &Arc<Service>,
    port: &ServicePort,
    reach: &Reach,
    route: RouteName,
    draft: &mut Draft,
) {
    if port.protocol.is_http() {
        add_cache(view, service, draft);
        let chain = http(RouteName::Port(port.number).text(), port.protocol);
        if !draft.chains.contains(&chain) {
            draft.chains.push(chain);
        }
        return;
    }
    if port.protocol.is_unsupported() {
        add_cache(view, service, draft);
        let chain = http(route.text(), port.protocol);
        if !draft.chains.contains(&chain) {
            draft.chains.push(chain);
        }
    }
    draft.origins.insert(service.origin.clone());
    draft.chains.extend(opaque::chains(view, egress, service, port, port.protocol, reach));
}

/// Services whose names are looked up request by request need a filter that does it.
fn add_cache(view: &View<'_>, service: &Service, draft: &mut Draft) {
    let cache = DnsCache::of_service(&service.key.hostname, cluster::families(view.class.families));
    if service.resolution == Resolution::DynamicDns && !draft.caches.contains(&cache) {
        draft.caches.push(cache);
    }
}

fn http(route: String, protocol: Protocol) -> OutboundChain {
    let action = OutboundAction::Http { route, grpc_web: protocol == Protocol::GrpcWeb, http_proxy: protocol == Protocol::HttpProxy };
    OutboundChain { action, metadata: None }
}
