//! HTTP/3 at gateways (`PILOT_ENABLE_QUIC_LISTENERS`): beside the TCP listener of HTTPS servers one for QUIC, with the same
//! routes.

use super::{View, gateway};
use base::Protocol;
use envoy::listener::{GatewayAction, GatewayChain};
use envoy::tls::{DownstreamAlpn, quic_transport_socket};
use model::{GatewayPort, GatewayServer};

/// Whether a server also speaks HTTP/3: an HTTPS server whose port the gateway's Service has for UDP too (Istio's
/// `udpSupportedPort`).
pub fn speaks(view: &View<'_>, server: &GatewayServer) -> bool {
    let https = server.protocol == Protocol::Https && server.terminates_tls();
    view.snapshot.features.quic_listeners
        && https
        && view.class.targets.iter().any(|target| {
            let service = view.snapshot.services.get(&mut incremental::Cx::default(), &target.service);
            let mut ports = service.iter().flat_map(|service| &service.ports);
            target.port == server.declared_port && ports.any(|port| port.number == target.port && port.protocol == Protocol::Udp)
        })
}

/// The chains for QUIC of a port; none if no server speaks it.
pub fn chains(view: &View<'_>, port: &GatewayPort, servers: &[GatewayServer]) -> Vec<GatewayChain> {
    let chain = |server: &GatewayServer| {
        let context = gateway::tls_context(view, server, DownstreamAlpn::Quic)?;
        let action = GatewayAction::Http { route: server.route_name(port), server: server.server.name.clone(), grpc_web: false };
        Some(GatewayChain {
            server_names: server.hosts.iter().map(|(_, host)| host.to_string()).collect(),
            mesh_traffic: false,
            transport_socket: Some(quic_transport_socket(context)),
            action,
            metadata: None,
        })
    };
    servers.iter().filter(|server| speaks(view, server)).filter_map(chain).collect()
}
