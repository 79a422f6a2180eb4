//! A sidecar's inbound side: the ports of its workload, from Services or from its Sidecar.

use super::{Scope, View, cluster, options, outbound, stat_name::StatName};
use crate::generate::Built;
use base::{Address, ObjectRef, PortNumber, Protocol};
use envoy::access_log::Reporter;
use envoy::cluster::{ClusterMeshDefaults, InboundClusterInputs, InboundEndpoint, ServiceMetadata, inbound_cluster, merge_policy};
use envoy::filter::network::tcp_proxy::TcpDestinations;
use envoy::listener::{
    self, Bind, BoundInboundInputs, Certificates, InboundChainInputs, InboundPassthrough, InboundProtocol, InboundTls, MutualTlsMode,
    VirtualInboundInputs,
};
use envoy::route::{InboundRouteInputs, inbound_route_configuration, names};
use envoy::tls::{self, DownstreamAlpn, DownstreamMtlsInputs, ServerTlsInputs};
use istio_api::mesh::mesh_config::InboundTrafficMode;
use istio_api::networking::destination_rule::ConnectionPoolSettings;
use istio_api::networking::sidecar::{CaptureMode, IstioIngressListener};
use istio_api::security::peer_authentication;
use model::{InterceptionMode, SidecarScope};
use registry::Service;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};
use xds_api::Wire;
use xds_api::envoy::config::core::v3::TransportSocket;

/// One port of the workload.
struct InboundPort<'a> {
    /// The port of the workload.
    target: PortNumber,
    /// The port that the route's names carry.
    service_port: PortNumber,
    protocol: Protocol,
    services: Vec<&'a Arc<Service>>,
    ingress: Option<&'a IstioIngressListener>,
}

impl InboundPort<'_> {
    fn hostname(&self) -> &str {
        self.services.first().map_or("", |service| service.key.hostname.as_str())
    }

    /// Whether it has a socket of its own.
    fn bound(&self, view: &View<'_>) -> bool {
        match self.ingress.map(|ingress| ingress.capture_mode) {
            Some(CaptureMode::None) => true,
            Some(CaptureMode::Iptables) => false,
            _ => view.class.interception == InterceptionMode::None,
        }
    }
}

/// The ports, by number. A Sidecar that declares any declares all, unless `PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE`
/// lets those of services be beside them. The oldest service decides what a port speaks.
fn ports<'a>(view: &View<'a>, scope: &'a SidecarScope) -> Vec<InboundPort<'a>> {
    let services = by_target(view);
    let ingress = scope.sidecar.as_ref().map(|sidecar| sidecar.spec.ingress.as_slice()).unwrap_or_default();
    let declared: Vec<_> = ingress.iter().filter_map(|listener| of_ingress(listener, &services)).collect();
    if !ingress.is_empty() && !view.snapshot.features.merge_inbound_listeners {
        return declared;
    }
    let others = |target: &PortNumber| declared.iter().all(|port| port.target != *target);
    if view.class.interception == InterceptionMode::None {
        return declared;
    }
    let of_services = services.into_iter().filter(|(target, _)| others(target)).filter_map(|(target, rows)| {
        let (first, number) = rows.first()?;
        let protocol = first.port(*number)?.protocol;
        Some(InboundPort { target, service_port: *number, protocol, services: rows.iter().map(|(s, _)| *s).collect(), ingress: None })
    });
    let of_services: Vec<_> = of_services.filter(|port| port.protocol != Protocol::Udp).collect();
    let mut all = declared;
    all.extend(of_services);
    all.sort_by_key(|port| port.target);
    all
}

type ByTarget<'a> = BTreeMap<PortNumber, Vec<(&'a Arc<Service>, PortNumber)>>;

fn by_target<'a>(view: &View<'a>) -> ByTarget<'a> {
    let mut out: ByTarget<'a> = BTreeMap::new();
    for target in &view.class.targets {
        if let Some(service) = view.service_of(&target.service) {
            out.entry(target.target).or_default().push((service, target.port));
        }
    }
    out.values_mut().for_each(|rows| rows.sort_by(|a, b| (a.0.age_order(), a.1).cmp(&(b.0.age_order(), b.1))));
    out
}

fn of_ingress<'a>(ingress: &'a IstioIngressListener, services: &ByTarget<'a>) -> Option<InboundPort<'a>> {
    let port = ingress.port.as_ref()?;
    let target = PortNumber::try_from(port.number).ok().filter(|number| *number != 0)?;
    let own = services.get(&target).map(|rows| rows.iter().map(|(service, _)| *service).collect()).unwrap_or_default();
    let protocol = match (Protocol::parse(&port.protocol), &ingress.tls) {
        // What is left when TLS ends at the listener.
        (Protocol::Https, Some(_)) => Protocol::Http,
        (Protocol::Tls, Some(_)) => Protocol::Tcp,
        (protocol, _) => protocol,
    };
    Some(InboundPort { target, service_port: target, protocol, services: own, ingress: Some(ingress) })
}

/// The cluster of each port.
pub fn clusters(view: &View<'_>) -> Vec<Built> {
    let Scope::Sidecar(scope) = view.scope else { return Vec::new() };
    let mesh = ClusterMeshDefaults::from(&*view.snapshot.mesh);
    let mut out = Vec::new();
    for port in ports(view, scope) {
        let name = names::inbound_cluster(port.target);
        let services: Vec<_> = port.services.iter().map(|service| metadata(service)).collect();
        let endpoint = endpoint(view, &port);
        let pool = connection_pool(view, scope, &port);
        let stat_name = stat_name(view, &port);
        let inputs = InboundClusterInputs {
            name: &name,
            stat_name: stat_name.as_deref(),
            protocol: port.protocol,
            endpoint: match &endpoint {
                Some((address, port)) => InboundEndpoint::Static(address, *port),
                None => InboundEndpoint::OriginalDst,
            },
            connection_pool: pool.as_ref(),
            mesh: &mesh,
            families: cluster::families(view.class.families),
            preserves_header_case: options::preserves_header_case(view),
            services: &services,
        };
        let origins: Vec<_> = port.services.iter().map(|service| service.origin.clone()).collect();
        out.push((name.clone(), inbound_cluster(&inputs).to_bytes(), Arc::from(origins)));
    }
    out
}

/// By the mesh's pattern, after the oldest service of the port.
fn stat_name(view: &View<'_>, port: &InboundPort<'_>) -> Option<String> {
    let service = port.services.first()?;
    let port_name = service.port(port.service_port).map_or("", |port| &port.name);
    let name = StatName { service, port: port.service_port, port_name, target: port.target, subset: "" };
    name.fill(&view.snapshot.mesh.inbound_cluster_stat_name)
}

fn metadata(service: &Service) -> ServiceMetadata<'_> {
    ServiceMetadata { host: service.key.hostname.as_str(), name: &service.name, namespace: service.key.namespace.as_str() }
}

/// Where the workload listens, if not at the address that the client asked for.
fn endpoint(view: &View<'_>, port: &InboundPort<'_>) -> Option<(Address, PortNumber)> {
    let localhost: IpAddr = view.class.families.localhost().parse().ok()?;
    let Some(ingress) = port.ingress else {
        let local = view.snapshot.mesh.inbound_traffic_policy.mode == InboundTrafficMode::Localhost;
        return local.then_some((Address::Ip(localhost), port.target));
    };
    let text = ingress.default_endpoint.as_str();
    if text.is_empty() {
        return port.bound(view).then_some((Address::Ip(localhost), port.target));
    }
    if text.starts_with("unix://") {
        return Some((Address::parse(text), 0));
    }
    let socket: std::net::SocketAddr = text.parse().ok()?;
    let own = view.class.addresses.iter().find(|address| address.is_ipv4() == socket.is_ipv4());
    match (socket.ip().is_unspecified(), own) {
        // The address of the instance itself, which is where the connection was going.
        (true, Some(own)) => Some((Address::Ip(*own), socket.port())),
        (true, None) => None,
        (false, _) => Some((Address::Ip(socket.ip()), socket.port())),
    }
}

/// That of the ingress listener, of the Sidecar, or of the rule for the service: the only part of a rule that holds here.
fn connection_pool(view: &View<'_>, scope: &SidecarScope, port: &InboundPort<'_>) -> Option<ConnectionPoolSettings> {
    let sidecar = scope.sidecar.as_ref().and_then(|sidecar| sidecar.spec.inbound_connection_pool.clone());
    let listener = port.ingress.and_then(|ingress| ingress.connection_pool.clone());
    let mesh = view.snapshot.mesh.default_traffic_policy.as_ref();
    let rule = || {
        let service = port.services.first()?;
        let rule = view.destination_rule(service)?;
        merge_policy(mesh, rule.spec.traffic_policy.as_ref(), None, port.service_port).connection_pool
    };
    listener.or(sidecar).or_else(rule).or_else(|| mesh.and_then(|mesh| mesh.connection_pool.clone()))
}

/// `virtualInbound`, and a listener for each port with a socket of its own.
pub fn listeners(view: &View<'_>) -> Vec<Built> {
    let Scope::Sidecar(scope) = view.scope else { return Vec::new() };
    let policies = super::authorization::origins(view);
    let options = super::authorization::guarded(view, options::of(view, Reporter::Destination));
    let certificates = certificates(view);
    let (wildcards, _) = options::addresses(view.class.families);
    let mut out: Vec<Built> = Vec::new();
    let (bound, captured): (Vec<_>, Vec<_>) = ports(view, scope).into_iter().partition(|port| port.bound(view));
    for port in &bound {
        let bind = bind(view, port, &wildcards);
        let chain = chain(view, port, address_of(&bind, &wildcards));
        let inputs = BoundInboundInputs { bind: &bind, chain: &chain, certificates: &certificates, options: &options };
        let listener = listener::bound_inbound_listener(&inputs);
        out.push((listener.name.clone(), listener.to_bytes(), together(origins(view, scope, port), &policies)));
    }
    if view.class.interception != InterceptionMode::None {
        let default = listener::names::VIRTUAL_INBOUND_PORT;
        let bind = outbound::bind_all(&wildcards, outbound::port_or(view.snapshot.mesh.proxy_inbound_listen_port, default));
        let wildcard = address_of(&bind, &wildcards);
        let address =
            |port: &InboundPort<'_>| port.ingress.map_or(wildcard, |_| address_of(&self::bind(view, port, &wildcards), &wildcards));
        let chains: Vec<_> = captured.iter().map(|port| chain(view, port, address(port))).collect();
        let passthrough = passthrough(view);
        let inputs = VirtualInboundInputs {
            bind: &bind,
            chains: &chains,
            passthrough: &passthrough,
            certificates: &certificates,
            transparent: view.class.interception == InterceptionMode::Tproxy,
            options: &options,
        };
        let listener = listener::virtual_inbound(&inputs);
        let all = captured.iter().flat_map(|port| origins(view, scope, port)).chain(mutual_tls_policy(view, 0)).collect();
        out.push((listener.name.clone(), listener.to_bytes(), together(all, &policies)));
    }
    out
}

fn origins(view: &View<'_>, scope: &SidecarScope, port: &InboundPort<'_>) -> Vec<ObjectRef> {
    let sidecar = scope.sidecar.iter().filter(|_| port.ingress.is_some()).map(|sidecar| sidecar.object_ref());
    let services = port.services.iter().map(|service| service.origin.clone());
    services.chain(sidecar).chain(mutual_tls_policy(view, port.target)).collect()
}

/// The PeerAuthentication that decides about a port; 0 is any that none names.
fn mutual_tls_policy(view: &View<'_>, port: PortNumber) -> Option<ObjectRef> {
    let policies = &view.snapshot.peer_authentications;
    policies.deciding(&view.class.namespace, &view.class.labels, port).map(|policy| policy.object_ref())
}

/// Each once, in the order in which they come.
fn together(own: Vec<ObjectRef>, policies: &[ObjectRef]) -> xds_wire::Origins {
    let mut all: Vec<ObjectRef> = Vec::new();
    for origin in own.into_iter().chain(policies.iter().cloned()) {
        if !all.contains(&origin) {
            all.push(origin);
        }
    }
    Arc::from(all)
}

/// Without a `bind` the workload's own address, so that several workloads of a host do not meet.
fn bind(view: &View<'_>, port: &InboundPort<'_>, wildcards: &[IpAddr]) -> Bind {
    let declared = port.ingress.map(|ingress| ingress.bind.as_str()).unwrap_or_default();
    match (Address::parse(declared), declared.is_empty(), view.class.addresses.first()) {
        (Address::Unix(path), _, _) => Bind::Unix { path, port: port.target },
        (Address::Ip(address), _, _) => Bind::ip(address, port.target),
        (_, true, Some(own)) => Bind::ip(*own, port.target),
        _ => outbound::bind_all(wildcards, port.target),
    }
}

fn address_of(bind: &Bind, wildcards: &[IpAddr]) -> IpAddr {
    match bind {
        Bind::Ip { address, .. } => *address,
        Bind::Unix { .. } => wildcards.first().copied().unwrap_or(IpAddr::from(std::net::Ipv4Addr::UNSPECIFIED)),
    }
}

fn chain(view: &View<'_>, port: &InboundPort<'_>, address: IpAddr) -> InboundChainInputs {
    let cluster = names::inbound_cluster(port.target);
    let retries = view.snapshot.mesh.default_inbound_http_retry_policy.as_ref();
    let grpc = matches!(port.protocol, Protocol::Grpc | Protocol::GrpcWeb);
    let route = || {
        inbound_route_configuration(&InboundRouteInputs {
            cluster: &cluster,
            hostname: port.hostname(),
            service_port: port.service_port,
            grpc,
            retries,
        })
    };
    let protocol = if port.protocol.is_http() {
        InboundProtocol::Http { route: route(), grpc_web: port.protocol == Protocol::GrpcWeb }
    } else if port.protocol.is_unsupported() {
        InboundProtocol::Sniffed { route: route() }
    } else {
        InboundProtocol::Tcp { protocol: port.protocol }
    };
    let mode = view.snapshot.peer_authentications.mode(&view.class.namespace, &view.class.labels, port.target);
    let custom = port.ingress.filter(|_| mode == peer_authentication::MutualTlsMode::Disable).and_then(|ingress| custom_tls(view, ingress));
    let tls = custom.map_or(InboundTls::Mutual(mutual_tls_mode(mode)), InboundTls::Custom);
    InboundChainInputs { address, port: port.target, protocol, tls, destinations: TcpDestinations::cluster(cluster), metadata: None }
}

/// The TLS that a Sidecar's inbound listener ends itself, which needs mutual TLS to be off there. (Istio does so only with
/// `ENABLE_TLS_ON_SIDECAR_INGRESS`, and otherwise takes no notice of what the user has written.)
fn custom_tls(view: &View<'_>, ingress: &IstioIngressListener) -> Option<TransportSocket> {
    let settings = ingress.tls.as_ref()?;
    let defaults = view.snapshot.mesh.tls_defaults.as_ref();
    let inputs = ServerTlsInputs {
        settings,
        alpn: DownstreamAlpn::Http,
        defaults,
        credentials: options::credentials(view.class.certificates, view.class.external_credentials),
        files: view.class.server_files.as_ref().map(options::certificate_files),
    };
    let context = tls::gateway_server_tls(&inputs)?;
    view.secrets.want(view.class.certificates, &context).then(|| tls::downstream_transport_socket(&context))
}

fn passthrough(view: &View<'_>) -> InboundPassthrough {
    let (policies, class) = (&view.snapshot.peer_authentications, view.class);
    let cluster = names::INBOUND_PASSTHROUGH_CLUSTER;
    let retries = view.snapshot.mesh.default_inbound_http_retry_policy.as_ref();
    let port_modes = policies.ports(&class.namespace, &class.labels);
    InboundPassthrough {
        mode: mutual_tls_mode(policies.workload_mode(&class.namespace, &class.labels)),
        port_modes: port_modes.into_iter().map(|(port, mode)| (port, mutual_tls_mode(mode))).collect(),
        route: inbound_route_configuration(&InboundRouteInputs { cluster, hostname: "", service_port: 0, grpc: false, retries }),
    }
}

fn mutual_tls_mode(mode: peer_authentication::MutualTlsMode) -> MutualTlsMode {
    match mode {
        peer_authentication::MutualTlsMode::Disable => MutualTlsMode::Disable,
        peer_authentication::MutualTlsMode::Strict => MutualTlsMode::Strict,
        _ => MutualTlsMode::Permissive,
    }
}

/// What the proxy serves mutual TLS with: peers of the trust domain and of its aliases are accepted.
fn certificates(view: &View<'_>) -> Certificates {
    let mesh = &view.snapshot.mesh;
    let any = view.snapshot.features.skip_trust_domain;
    let domains = std::iter::once(&mesh.trust_domain).chain(&mesh.trust_domain_aliases).filter(|_| !any);
    let domains: Vec<String> = domains.cloned().collect();
    let context = |alpn| {
        tls::downstream_mtls(&DownstreamMtlsInputs {
            trust_domains: &domains,
            alpn,
            mesh_mtls: mesh.mesh_mtls.as_ref(),
            files: view.class.server_files.as_ref().map(options::certificate_files),
            credentials: options::credentials(view.class.certificates, view.class.external_credentials),
        })
    };
    let (http, tcp) = (context(DownstreamAlpn::Http), context(DownstreamAlpn::Tcp));
    if !view.secrets.want(view.class.certificates, &http) {
        return Certificates::None;
    }
    Certificates::Sds { http: tls::downstream_transport_socket(&http), tcp: tls::downstream_transport_socket(&tcp) }
}
