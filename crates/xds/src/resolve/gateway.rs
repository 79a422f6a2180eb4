//! A gateway's listeners and routes.

use super::{View, auto_passthrough, misdirected, options, quic, route as sidecar_route, tcp};
use crate::generate::Built;
use base::{Hostname, Namespace, ObjectRef, PortNumber, Protocol};
use bytes::Bytes;
use envoy::access_log::Reporter;
use envoy::listener::{self, GatewayAction, GatewayChain, GatewayListenerInputs, GatewayTransport};
use envoy::route::{self, RouteConfigurationInputs};
use envoy::tls::{self, DownstreamAlpn, ServerTlsInputs};
use model::{GatewayPort, GatewayServer, MergedGateway, VirtualService};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use xds_api::Wire;
use xds_api::envoy::config::core::v3::TransportSocket;
use xds_api::envoy::config::route::v3::Route;
use xds_api::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;

/// One virtual host while VirtualServices add to it.
struct Host {
    port: PortNumber,
    routes: Vec<Route>,
    https_redirect: bool,
}

/// One route configuration for the plain servers of each port, and one for each server that ends TLS.
pub fn routes(view: &View<'_>, gateway: &MergedGateway) -> Vec<Built> {
    let mut out = Vec::new();
    for (port, all) in &gateway.ports {
        let mut by_name: BTreeMap<String, Vec<&GatewayServer>> = BTreeMap::new();
        for server in all.iter().filter(|server| server.is_http()) {
            by_name.entry(server.route_name(port)).or_default().push(server);
        }
        for (name, servers) in by_name {
            let (body, origins) = configuration(view, port, &name, &servers, all);
            out.push((name, body, Arc::from(origins.into_iter().collect::<Vec<_>>())));
        }
    }
    out
}

/// The hosts of all VirtualServices that are bound to one of the servers, each within the server's own hosts; rules of
/// several VirtualServices for one host follow one another, those that take everything last. `all` are the servers of the port.
fn configuration(
    view: &View<'_>,
    port: &GatewayPort,
    name: &str,
    servers: &[&GatewayServer],
    all: &[GatewayServer],
) -> (Bytes, BTreeSet<ObjectRef>) {
    let mut hosts: BTreeMap<Hostname, Host> = BTreeMap::new();
    let mut origins = BTreeSet::new();
    let mut done: BTreeSet<(String, Hostname)> = BTreeSet::new();
    for server in servers {
        origins.insert(server.origin.clone());
        let redirect = server.server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
        for vs in view.snapshot.virtual_services.visible(&view.class.namespace, &server.gateway) {
            for host in intersection(server, vs) {
                // The same rule through two servers of one port counts once.
                if !done.insert((vs.origin.to_string(), host.clone())) {
                    continue;
                }
                let gateways = BTreeSet::from([server.gateway.clone()]);
                let (routes, from) = sidecar_route::routes(view, vs, server.declared_port, &gateways, server.terminates_tls());
                origins.extend(from);
                let row = hosts.entry(host).or_insert(Host { port: server.declared_port, routes: Vec::new(), https_redirect: redirect });
                row.routes.extend(routes);
                row.https_redirect |= redirect;
            }
        }
        if redirect {
            // A server that only redirects needs no rule.
            for (_, host) in &server.hosts {
                let row =
                    hosts.entry(host.clone()).or_insert(Host { port: server.declared_port, routes: Vec::new(), https_redirect: true });
                row.https_redirect = true;
            }
        }
    }
    let misdirected = match servers.iter().all(|server| server.terminates_tls()) {
        true => misdirected::hosts(all, servers, &hosts.keys().collect()),
        false => BTreeSet::new(),
    };
    let common =
        Common { counts_attempts: options::counts_attempts(view), offers_http3: servers.iter().any(|server| quic::speaks(view, server)) };
    let mut chunks: Vec<Bytes> = hosts.into_iter().map(|(name, host)| encode(&name, host, &common)).collect();
    if chunks.is_empty() {
        chunks.push(route::encode_virtual_host(&route::blackhole(port.number)));
    }
    if !misdirected.is_empty() {
        let domains = misdirected.iter().map(Hostname::to_string).collect();
        chunks.push(route::encode_virtual_host(&route::misdirected(port.number, domains)));
    }
    let (start, end) = route::route_configuration(&RouteConfigurationInputs { name, ignore_port_in_host_matching: true });
    chunks.insert(0, start);
    chunks.push(end);
    (Bytes::from(chunks.concat()), origins)
}

/// What all virtual hosts of a configuration have in common.
struct Common {
    counts_attempts: bool,
    offers_http3: bool,
}

fn encode(name: &Hostname, mut host: Host, common: &Common) -> Bytes {
    route::move_catch_alls_last(&mut host.routes);
    let inputs = route::VirtualHostInputs {
        host: name.to_string(),
        port: host.port,
        domains: vec![name.to_string()],
        routes: host.routes,
        counts_attempts: common.counts_attempts,
        https_redirect: host.https_redirect,
        offers_http3: common.offers_http3,
    };
    route::encode_virtual_host(&route::virtual_host(inputs))
}

/// The hosts that server and rule have in common, the more specific of each pair; hosts of the server that name a
/// namespace take rules of that namespace only.
pub fn intersection(server: &GatewayServer, vs: &VirtualService) -> BTreeSet<Hostname> {
    let mut out = BTreeSet::new();
    for (namespace, allowed) in &server.hosts {
        if !of_namespace(namespace.as_ref(), &vs.namespace) {
            continue;
        }
        for host in &vs.hosts {
            if host.subset_of(allowed) {
                out.insert(host.clone());
            } else if allowed.subset_of(host) {
                out.insert(allowed.clone());
            }
        }
    }
    out
}

fn of_namespace(wanted: Option<&Namespace>, namespace: &Namespace) -> bool {
    wanted.is_none_or(|wanted| wanted == namespace)
}

/// One listener for each port: a chain for all plain HTTP servers together, one for each server that ends TLS, and those
/// of TCP and TLS rules.
pub fn listeners(view: &View<'_>, gateway: &MergedGateway) -> Vec<Built> {
    let policies = super::authorization::origins(view);
    let options = super::authorization::guarded(view, options::of(view, Reporter::Source));
    let (wildcards, _) = options::addresses(view.class.families);
    let mut out: Vec<Built> = super::outbound::tunnel(view).into_iter().collect();
    for (port, servers) in gateway.ports.iter().filter(|(port, _)| !view.class.unprivileged || port.number >= 1024) {
        let Some(bind) = listener::sidecar_egress_bind(&port.bind, port.number, false, &wildcards, &[]) else { continue };
        let chains: Vec<GatewayChain> = servers.iter().flat_map(|server| chains(view, port, server)).collect();
        let proxy_protocol = view.proxy_config().gateway_topology.as_ref().is_some_and(|topology| topology.proxy_protocol.is_some());
        let transport = GatewayTransport::Tcp;
        let inputs = GatewayListenerInputs { bind: &bind, chains: &chains, proxy_protocol, transport, options: &options };
        let quic = quic::chains(view, port, servers);
        let over_quic = GatewayListenerInputs { chains: &quic, transport: GatewayTransport::Quic, ..inputs };
        for listener in [inputs, over_quic].iter().filter_map(listener::gateway_listener) {
            let origins: BTreeSet<ObjectRef> = servers.iter().map(|server| &server.origin).chain(&policies).cloned().collect();
            out.push((listener.name.clone(), listener.to_bytes(), Arc::from(origins.into_iter().collect::<Vec<_>>())));
        }
    }
    out
}

fn chains(view: &View<'_>, port: &GatewayPort, server: &GatewayServer) -> Vec<GatewayChain> {
    let names: Vec<String> = server.hosts.iter().map(|(_, host)| host.to_string()).collect();
    if server.is_http() {
        let route = server.route_name(port);
        let action = GatewayAction::Http { route, server: server.server.name.clone(), grpc_web: server.protocol == Protocol::GrpcWeb };
        if !server.protocol.is_tls() {
            return vec![GatewayChain { server_names: Vec::new(), mesh_traffic: false, transport_socket: None, action, metadata: None }];
        }
        let socket = transport_socket(view, server, DownstreamAlpn::Http);
        return socket
            .map(|socket| GatewayChain { server_names: names, mesh_traffic: false, transport_socket: Some(socket), action, metadata: None })
            .into_iter()
            .collect();
    }
    if server.terminates_tls() {
        let Some(socket) = transport_socket(view, server, DownstreamAlpn::Tcp) else { return Vec::new() };
        let actions = tcp_actions(view, server).into_iter();
        return actions
            .map(|action| GatewayChain {
                server_names: names.clone(),
                mesh_traffic: false,
                transport_socket: Some(socket.clone()),
                action,
                metadata: None,
            })
            .collect();
    }
    if server.passes_by_name() {
        return auto_passthrough::chains(view, server);
    }
    if server.protocol.is_tls() {
        return passthrough_chains(view, server);
    }
    tcp_actions(view, server)
        .into_iter()
        .map(|action| GatewayChain { server_names: Vec::new(), mesh_traffic: false, transport_socket: None, action, metadata: None })
        .collect()
}

/// The rules of TLS that is passed through: a chain for each match of each rule whose names the server has.
fn passthrough_chains(view: &View<'_>, server: &GatewayServer) -> Vec<GatewayChain> {
    let mut out = Vec::new();
    for vs in view.snapshot.virtual_services.visible(&view.class.namespace, &server.gateway) {
        if intersection(server, vs).is_empty() {
            continue;
        }
        let client = client(view, server);
        for rule in &vs.spec.tls {
            for tls in rule.matches.iter().filter(|tls| tcp::tls_holds(tls, &client)) {
                let destinations = tcp::destinations(view, vs, &rule.route, server.declared_port);
                let action =
                    GatewayAction::Tcp { subnets: tcp::subnets(&tls.destination_subnets), destinations, protocol: server.protocol };
                out.push(GatewayChain {
                    server_names: tls.sni_hosts.clone(),
                    mesh_traffic: false,
                    transport_socket: None,
                    action,
                    metadata: None,
                });
            }
        }
    }
    out
}

/// A TCP server takes the first rule of the first VirtualService that has one for it.
fn tcp_actions(view: &View<'_>, server: &GatewayServer) -> Vec<GatewayAction> {
    for vs in view.snapshot.virtual_services.visible(&view.class.namespace, &server.gateway) {
        let client = client(view, server);
        for rule in vs.spec.tcp.iter().filter(|_| !intersection(server, vs).is_empty()) {
            let destinations = tcp::destinations(view, vs, &rule.route, server.declared_port);
            let action = |subnets| GatewayAction::Tcp { subnets, destinations: destinations.clone(), protocol: server.protocol };
            if rule.matches.is_empty() {
                return vec![action(Vec::new())];
            }
            if let Some(found) = rule.matches.iter().find(|tcp| tcp::tcp_holds(tcp, &client)) {
                return vec![action(tcp::subnets(&found.destination_subnets))];
            }
        }
    }
    Vec::new()
}

fn client<'a>(view: &'a View<'_>, server: &'a GatewayServer) -> tcp::Client<'a> {
    tcp::Client {
        labels: &view.class.labels,
        namespace: view.class.namespace.as_str(),
        gateway: &server.gateway,
        port: server.declared_port,
    }
}

/// The TLS of a server; none if it takes an agent that the proxy does not have.
fn transport_socket(view: &View<'_>, server: &GatewayServer, alpn: DownstreamAlpn) -> Option<TransportSocket> {
    tls_context(view, server, alpn).map(|context| tls::downstream_transport_socket(&context))
}

/// The same before it is packed.
pub fn tls_context(view: &View<'_>, server: &GatewayServer, alpn: DownstreamAlpn) -> Option<DownstreamTlsContext> {
    let settings = server.server.tls.as_ref()?;
    let inputs = ServerTlsInputs {
        settings,
        alpn,
        defaults: view.snapshot.mesh.tls_defaults.as_ref(),
        credentials: options::credentials(view.class.certificates, view.class.external_credentials),
        files: view.class.server_files.as_ref().map(options::certificate_files),
    };
    let context = tls::gateway_server_tls(&inputs)?;
    view.secrets.want(view.class.certificates, &context).then_some(context)
}
