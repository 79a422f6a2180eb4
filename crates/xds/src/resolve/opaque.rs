//! The chains of outbound ports whose bytes are forwarded: what VirtualServices say of TCP and TLS, else the service's own
//! cluster.

use super::{View, cluster, outbound::Reach, tcp};
use base::{Cidr, PortNumber, Protocol};
use envoy::cluster::DnsCache;
use envoy::filter::network::tcp_proxy::TcpDestinations;
use envoy::listener::{OutboundAction, OutboundChain};
use envoy::route::names;
use model::{EgressListener, MESH_GATEWAY, VirtualService};
use registry::{Resolution, Service, ServicePort};
use std::{collections::BTreeSet, sync::Arc};

/// The chains of a port, the first rule first. TLS is matched by rules for TLS alone, everything else by those for TCP
/// (Istio's `buildSidecarOutboundTCPTLSFilterChainOpts`).
pub fn chains(
    view: &View<'_>,
    egress: &EgressListener,
    service: &Service,
    port: &ServicePort,
    protocol: Protocol,
    reach: &Reach,
) -> Vec<OutboundChain> {
    let rules = Rules {
        view,
        client: tcp::Client {
            labels: &view.class.labels,
            namespace: view.class.namespace.as_str(),
            gateway: MESH_GATEWAY,
            port: listener_port(egress, port),
        },
        range: match reach {
            Reach::Range(range) => vec![*range],
            _ => Vec::new(),
        },
        protocol,
    };
    let matching = view.rules(egress, &service.key.hostname);
    let (mut actions, complete) = if protocol.is_tls() { rules.tls(matching) } else { rules.tcp(matching) };
    if !complete {
        actions.push(rules.own(service, port, reach));
    }
    actions.into_iter().map(|action| OutboundChain { action, metadata: None }).collect()
}

/// The port that rules mean: that of a Sidecar's listener, else the service's.
fn listener_port(egress: &EgressListener, port: &ServicePort) -> PortNumber {
    let own = egress.port.as_ref().and_then(|port| PortNumber::try_from(port.number).ok());
    own.filter(|port| *port != 0).unwrap_or(port.number)
}

/// What the rules are looked at with.
struct Rules<'a> {
    view: &'a View<'a>,
    client: tcp::Client<'a>,
    /// The addresses of the service, where it has a range of them.
    range: Vec<Cidr>,
    protocol: Protocol,
}

impl Rules<'_> {
    /// One chain for each match that can hold; of two with the same names and addresses the first. Any makes the service's
    /// own chain superfluous.
    fn tls<'b>(&self, rules: impl Iterator<Item = &'b Arc<VirtualService>>) -> (Vec<OutboundAction>, bool) {
        let (mut actions, mut handled) = (Vec::new(), BTreeSet::new());
        for (vs, rule) in rules.flat_map(|vs| vs.spec.tls.iter().map(move |rule| (vs, rule))) {
            for tls in rule.matches.iter().filter(|tls| tcp::tls_holds(tls, &self.client)) {
                if handled.insert((&tls.sni_hosts, &tls.destination_subnets)) {
                    let subnets = self.subnets(&tls.destination_subnets);
                    let destinations = tcp::destinations(self.view, vs, &rule.route, self.client.port);
                    actions.push(OutboundAction::Tls { server_names: tls.sni_hosts.clone(), subnets, destinations });
                }
            }
        }
        let complete = !actions.is_empty();
        (actions, complete)
    }

    /// One chain for each rule, up to the first that asks for no address: it takes everything.
    fn tcp<'b>(&self, rules: impl Iterator<Item = &'b Arc<VirtualService>>) -> (Vec<OutboundAction>, bool) {
        let (mut actions, mut complete) = (Vec::new(), false);
        for (vs, rule) in rules.flat_map(|vs| vs.spec.tcp.iter().map(move |rule| (vs, rule))) {
            let holding: Vec<_> = rule.matches.iter().filter(|tcp| tcp::tcp_holds(tcp, &self.client)).collect();
            if holding.is_empty() && !rule.matches.is_empty() {
                continue;
            }
            let destinations = tcp::destinations(self.view, vs, &rule.route, self.client.port);
            if holding.iter().all(|tcp| !tcp.destination_subnets.is_empty()) && !holding.is_empty() {
                let subnets: Vec<Cidr> = holding.iter().flat_map(|tcp| tcp::subnets(&tcp.destination_subnets)).collect();
                complete |= subnets == self.range;
                actions.push(self.forward(subnets, destinations));
                continue;
            }
            actions.push(self.forward(self.range.clone(), destinations));
            return (actions, true);
        }
        (actions, complete)
    }

    fn subnets(&self, declared: &[String]) -> Vec<Cidr> {
        if declared.is_empty() { self.range.clone() } else { tcp::subnets(declared) }
    }

    fn forward(&self, subnets: Vec<Cidr>, destinations: TcpDestinations) -> OutboundAction {
        OutboundAction::Tcp { subnets, destinations, protocol: self.protocol }
    }

    /// To the service's own cluster; where services share an address, TLS for the service's own names.
    fn own(&self, service: &Service, port: &ServicePort, reach: &Reach) -> OutboundAction {
        let hostname = &service.key.hostname;
        let cluster = names::outbound_cluster(port.number, "", hostname.as_str());
        let mut destinations = tcp::to_service(self.view, hostname, port.number, "", cluster);
        let by_name = service.resolution == Resolution::DynamicDns;
        if !self.protocol.is_tls() || (matches!(reach, Reach::Own) && !by_name) {
            return self.forward(self.range.clone(), destinations);
        }
        if by_name {
            let cache = DnsCache::of_service(hostname, cluster::families(self.view.class.families));
            destinations.sni_resolution = Some((cache, port.number));
        }
        let names = std::iter::once(hostname).chain(self.view.snapshot.aliases.of(hostname));
        OutboundAction::Tls { server_names: names.map(ToString::to_string).collect(), subnets: self.range.clone(), destinations }
    }
}
