//! Gateways that pass mutual TLS of the mesh through to the cluster that the server name names (AUTO_PASSTHROUGH), without
//! any VirtualService: how networks are joined.

use super::{View, cluster, tcp};
use base::Protocol;
use envoy::listener::{GatewayAction, GatewayChain};
use envoy::route::names;
use model::GatewayServer;
use registry::{Resolution, Service, ServicePort};

/// One chain for each port of each service of the mesh that the server's hosts cover, and for each subset (Istio's
/// `builtAutoPassthroughFilterChains`).
pub fn chains(view: &View<'_>, server: &GatewayServer) -> Vec<GatewayChain> {
    let covered = |service: &Service| server.hosts.iter().any(|(_, host)| service.key.hostname.subset_of(host));
    let services = cluster::services(view).into_iter().filter(|service| is_reachable(service) && covered(service));
    let mut out = Vec::new();
    for service in services {
        let rule = view.destination_rule(service);
        let subsets: Vec<&str> = rule.iter().flat_map(|rule| &rule.spec.subsets).map(|subset| subset.name.as_str()).collect();
        for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            out.push(chain(view, service, port, ""));
            out.extend(subsets.iter().map(|subset| chain(view, service, port, subset)));
        }
    }
    out
}

/// Whether a service can be called through such a gateway: what is outside of the mesh has no mutual TLS.
pub fn is_reachable(service: &Service) -> bool {
    !service.mesh_external && !matches!(service.resolution, Resolution::Alias(_))
}

fn chain(view: &View<'_>, service: &Service, port: &ServicePort, subset: &str) -> GatewayChain {
    let hostname = &service.key.hostname;
    let name = names::sni(port.number, subset, hostname.as_str());
    let destinations = tcp::to_service(view, hostname, port.number, subset, name.clone());
    GatewayChain {
        server_names: vec![name],
        mesh_traffic: true,
        transport_socket: None,
        action: GatewayAction::Tcp { subnets: Vec::new(), destinations, protocol: Protocol::Tls },
        metadata: None,
    }
}
