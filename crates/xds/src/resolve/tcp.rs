//! TCP and TLS rules of VirtualServices: which connections go to which clusters.

use super::{View, destination, stat_name::StatName};
use base::{Cidr, Hostname, Labels, PortNumber};
use envoy::cluster::merge_policy;
use envoy::filter::network::tcp_proxy::{TcpDestinations, TcpTunnel};
use envoy::route::names;
use istio_api::networking::virtual_service::{Destination, L4MatchAttributes, RouteDestination, TlsMatchAttributes};
use model::VirtualService;
use std::collections::BTreeMap;

/// What a match of a TCP or TLS rule says beside names and addresses: decided when configuration is made.
struct Condition<'a> {
    port: u32,
    source_labels: &'a BTreeMap<String, String>,
    source_namespace: &'a str,
    gateways: &'a [String],
}

/// For whom a rule is looked at.
pub struct Client<'a> {
    /// The client's labels.
    pub labels: &'a Labels,
    /// Its namespace.
    pub namespace: &'a str,
    /// `mesh`, or `namespace/name` of the gateway.
    pub gateway: &'a str,
    /// The port of the listener, as users declare it.
    pub port: PortNumber,
}

impl Condition<'_> {
    /// Labels and namespace count for sidecars only: a rule that names gateways means their clients (Istio's
    /// `matchTCP`, `matchTLS`).
    fn holds(&self, client: &Client<'_>) -> bool {
        let gateway = self.gateways.is_empty() || self.gateways.iter().any(|name| name == client.gateway);
        let source = !self.gateways.is_empty()
            || (client.labels.contain(self.source_labels)
                && (self.source_namespace.is_empty() || self.source_namespace == client.namespace));
        gateway && source && (self.port == 0 || self.port == u32::from(client.port))
    }
}

/// Whether a TLS match can hold for the client.
pub fn tls_holds(tls: &TlsMatchAttributes, client: &Client<'_>) -> bool {
    let (source_labels, source_namespace) = (&tls.source_labels, tls.source_namespace.as_str());
    Condition { port: tls.port, source_labels, source_namespace, gateways: &tls.gateways }.holds(client)
}

/// Whether a TCP match can hold for the client.
pub fn tcp_holds(tcp: &L4MatchAttributes, client: &Client<'_>) -> bool {
    let (source_labels, source_namespace) = (&tcp.source_labels, tcp.source_namespace.as_str());
    Condition { port: tcp.port, source_labels, source_namespace, gateways: &tcp.gateways }.holds(client)
}

/// The ranges of a match; what cannot be parsed was refused by validation.
pub fn subnets(texts: &[String]) -> Vec<Cidr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The clusters of a rule with their weights.
pub fn destinations(view: &View<'_>, vs: &VirtualService, routes: &[RouteDestination], listener_port: PortNumber) -> TcpDestinations {
    let known = destination::of_virtual_service(view, vs, listener_port);
    let pairs = routes.iter().filter_map(|route| Some((route.destination.as_ref()?, route.weight)));
    let resolved: Vec<(Resolved<'_>, u32)> = pairs
        .map(|(destination, weight)| (resolve(&known, destination, listener_port), u32::try_from(weight).unwrap_or_default()))
        .collect();
    if let [(only, _)] = resolved.as_slice() {
        let hostname = Hostname::new(only.host);
        let tunnel = tunnel(view, &hostname, only.port, only.subset);
        return TcpDestinations { tunnel, ..to_service(view, &hostname, only.port, only.subset, only.cluster()) };
    }
    let clusters = resolved.iter().map(|(destination, weight)| (destination.cluster(), *weight)).collect();
    TcpDestinations { stat_prefix: format!("{}.{}", vs.name, vs.namespace), clusters, ..TcpDestinations::default() }
}

/// The proxy that a rule asks for the destination (`tunnel` of its DestinationRule); several destinations have none (Istio's
/// `tunnelingconfig`).
fn tunnel(view: &View<'_>, hostname: &Hostname, port: PortNumber, subset: &str) -> Option<TcpTunnel> {
    let rule = view.destination_rule(view.service(hostname)?)?;
    let own = rule.spec.subsets.iter().find(|candidate| candidate.name == subset).and_then(|subset| subset.traffic_policy.as_ref());
    let settings = merge_policy(None, rule.spec.traffic_policy.as_ref(), own, port).tunnel?;
    let target = match settings.target_host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{}", settings.target_port),
        Err(_) => format!("{}:{}", settings.target_host, settings.target_port),
    };
    Some(TcpTunnel { target, post: settings.protocol == "POST" })
}

/// A destination with everything that its cluster's name is made of.
struct Resolved<'a> {
    host: &'a str,
    subset: &'a str,
    port: PortNumber,
}

impl Resolved<'_> {
    fn cluster(&self) -> String {
        names::outbound_cluster(self.port, self.subset, self.host)
    }
}

/// Without a port, the service's only port or that of the listener.
fn resolve<'a>(known: &'a envoy::route::Destinations, destination: &'a Destination, listener_port: PortNumber) -> Resolved<'a> {
    let row = known.get(&envoy::route::DestinationKey::of(destination));
    let wanted = destination.port.as_ref().and_then(|port| PortNumber::try_from(port.number).ok());
    Resolved {
        host: row.map_or(destination.host.as_str(), |row| row.hostname.as_str()),
        subset: &destination.subset,
        port: wanted.or_else(|| row.and_then(|row| row.only_port)).unwrap_or(listener_port),
    }
}

/// One cluster, with the limits that its DestinationRule sets for connections.
pub fn to_service(view: &View<'_>, hostname: &Hostname, port: PortNumber, subset: &str, cluster: String) -> TcpDestinations {
    let mut out = TcpDestinations::cluster(cluster);
    let Some(service) = view.service(hostname) else { return out };
    let port_name = service.port(port).map_or("", |port| &port.name);
    if let Some(name) = (StatName { service, port, port_name, target: 0, subset }).fill(&view.snapshot.mesh.outbound_cluster_stat_name) {
        out.stat_prefix = name;
    }
    let Some(rule) = view.destination_rule(service) else { return out };
    let own = rule.spec.subsets.iter().find(|candidate| candidate.name == subset).and_then(|subset| subset.traffic_policy.as_ref());
    let mesh = view.snapshot.mesh.default_traffic_policy.as_ref();
    let policy = merge_policy(mesh, rule.spec.traffic_policy.as_ref(), own, port);
    out.hash_source_ip =
        policy.load_balancer.as_ref().and_then(|lb| lb.consistent_hash.as_ref()).is_some_and(|hash| hash.use_source_ip == Some(true));
    let tcp = policy.connection_pool.as_ref().and_then(|pool| pool.tcp.as_ref());
    out.idle_timeout = tcp.and_then(|tcp| tcp.idle_timeout).map(|timeout| timeout.0);
    out.max_connection_duration = tcp.and_then(|tcp| tcp.max_connection_duration).map(|duration| duration.0);
    out
}
