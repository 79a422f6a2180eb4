//! What a gateway workload listens on: the servers of all Gateways that select it, merged by port.

use crate::{Snapshot, snapshot::port_number};
use base::{Hostname, Labels, Namespace, ObjectRef, PortNumber, Protocol};
use incremental::Cx;
use istio_api::Object;
use istio_api::networking::gateway::{Gateway, Server, ServerTlsMode};
use registry::ServiceTarget;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One server of one Gateway, as it is served.
#[derive(Clone, PartialEq, Debug)]
pub struct GatewayServer {
    /// The Gateway.
    pub origin: ObjectRef,
    /// `namespace/name`, as VirtualServices refer to it.
    pub gateway: String,
    /// The server as written.
    pub server: Server,
    /// The port in the object, before it becomes the port of the workload.
    pub declared_port: PortNumber,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// The hosts, each with the namespace to which its VirtualServices are limited.
    pub hosts: Vec<(Option<Namespace>, Hostname)>,
}

impl GatewayServer {
    /// Whether the gateway ends TLS here.
    pub fn terminates_tls(&self) -> bool {
        let mode = self.server.tls.as_ref().filter(|tls| !tls.https_redirect || self.protocol.is_tls()).map(|tls| tls.mode);
        self.protocol.is_tls() && !matches!(mode, None | Some(ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough))
    }

    /// Whether it passes mutual TLS of the mesh through to the cluster that the server name names (AUTO_PASSTHROUGH).
    pub fn passes_by_name(&self) -> bool {
        self.protocol.is_tls() && self.server.tls.as_ref().is_some_and(|tls| tls.mode == ServerTlsMode::AutoPassthrough)
    }

    /// Whether HTTP rules route its requests: plain HTTP, or HTTPS that ends here.
    pub fn is_http(&self) -> bool {
        self.protocol.is_http() || (self.protocol == Protocol::Https && self.terminates_tls())
    }

    /// The name of its route configuration: one for all plain servers of a port, one for each TLS server.
    pub fn route_name(&self, port: &GatewayPort) -> String {
        let bind = if port.bind.is_empty() { String::new() } else { format!(".{}", port.bind) };
        if self.protocol.is_http() {
            return format!("http.{}{bind}", port.number);
        }
        let name = self.server.port.as_ref().map(|port| port.name.as_str()).unwrap_or_default();
        let (namespace, gateway) = self.gateway.split_once('/').unwrap_or_default();
        format!("https.{}.{name}.{gateway}.{namespace}{bind}", self.declared_port)
    }
}

/// Where a gateway listens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GatewayPort {
    /// The port of the workload.
    pub number: PortNumber,
    /// The address; empty means all.
    pub bind: String,
}

/// The servers of one gateway workload by port, the older Gateway's first.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct MergedGateway {
    /// By port and bind address.
    pub ports: BTreeMap<GatewayPort, Vec<GatewayServer>>,
}

impl MergedGateway {
    /// The plain HTTP servers of a port share one listener; TLS servers each get a chain; a protocol that cannot share
    /// the port with the first is left out, and so is a TLS server one of whose hosts an earlier one has.
    pub fn build(snapshot: &Snapshot, namespace: &Namespace, labels: &Labels, targets: &[ServiceTarget]) -> Self {
        let mut merged = Self::default();
        for object in snapshot.gateways_in_reach(namespace) {
            let Some(ports) = Ports::of(snapshot, object, labels, targets) else { continue };
            for (port, server) in object.spec.servers.iter().flat_map(|server| resolve(object, server, &ports)) {
                let rows = merged.ports.entry(port).or_default();
                if rows.iter().all(|row| compatible(row, &server)) {
                    rows.push(server);
                }
            }
        }
        merged
    }

    /// The names of the Gateways that a workload with these labels may serve. Of one that is served by the workloads of a
    /// Service, that is not known by labels.
    pub fn names<'a>(snapshot: &'a Snapshot, namespace: &Namespace, labels: &Labels) -> impl Iterator<Item = String> + use<'a> {
        let labels = labels.clone();
        let objects = snapshot
            .gateways_in_reach(namespace)
            .filter(move |object| object.metadata.annotations.contains_key(GATEWAY_SERVICE) || labels.contain(&object.spec.selector));
        objects.map(|object| format!("{}/{}", object.metadata.namespace, object.metadata.name))
    }

    /// The servers that a workload with these labels does not serve, each with the one that has its place. Ports are taken
    /// as the Gateways say them.
    pub fn dropped(snapshot: &Snapshot, labels: &Labels) -> Vec<(GatewayServer, GatewayServer)> {
        let mut ports: BTreeMap<GatewayPort, Vec<GatewayServer>> = BTreeMap::new();
        let mut dropped = Vec::new();
        for object in snapshot.gateways.iter() {
            let Some(own) = Ports::of(snapshot, object, labels, &[]) else { continue };
            for (port, server) in object.spec.servers.iter().flat_map(|server| resolve(object, server, &own)) {
                let rows = ports.entry(port).or_default();
                match rows.iter().find(|row| !compatible(row, &server)) {
                    Some(row) => dropped.push((server, row.clone())),
                    None => rows.push(server),
                }
            }
        }
        dropped
    }
}

impl Snapshot {
    /// The Gateways that a workload of the namespace may serve, the oldest first: with `PILOT_SCOPE_GATEWAY_TO_NAMESPACE` those
    /// of its own namespace, else all. Which of them select it, their labels say.
    pub fn gateways_in_reach<'a>(&'a self, namespace: &Namespace) -> impl Iterator<Item = &'a Arc<Object<Gateway>>> + use<'a> {
        let only = self.features.scope_gateway_to_namespace.then(|| namespace.clone());
        self.gateways.iter().filter(move |object| only.as_ref().is_none_or(|only| object.metadata.namespace == *only))
    }
}

/// Whether any server of a Gateway is AUTO_PASSTHROUGH.
pub(crate) fn passes_by_name(gateway: &Gateway) -> bool {
    gateway.servers.iter().any(|server| server.tls.as_ref().is_some_and(|tls| tls.mode == ServerTlsMode::AutoPassthrough))
}

/// On a Gateway: the Services by whose workloads it is served, in place of a selector; comma-separated host names.
const GATEWAY_SERVICE: &str = "internal.istio.io/gateway-service";

/// On a Gateway that was made of another object: that object, `Kind/name.namespace`.
pub(crate) const PARENT: &str = "internal.istio.io/parents";

/// The object that users know.
pub(crate) fn origin(object: &Object<Gateway>) -> ObjectRef {
    let parent = object.metadata.annotations.get(PARENT).and_then(|text| text.split_once('/'));
    match parent.and_then(|(kind, rest)| Some((kind, rest.rsplit_once('.')?))) {
        Some(("Ingress", (name, namespace))) => ObjectRef::new("Ingress", namespace, name),
        _ => object.object_ref(),
    }
}

/// On a Service: its ports are not translated for Gateways with a selector.
const NO_PORT_TRANSLATION: &str = "experimental.istio.io/disable-gateway-port-translation";

/// How the ports of one Gateway become ports of the workload (Istio's `mergeGateways`, `resolvePorts`).
struct Ports<'a> {
    targets: Vec<&'a ServiceTarget>,
    /// Whether a port that no Service has is served as it is.
    literal: bool,
}

impl<'a> Ports<'a> {
    /// `None` if the Gateway is not for this workload.
    fn of(snapshot: &Snapshot, object: &Object<Gateway>, labels: &Labels, targets: &'a [ServiceTarget]) -> Option<Self> {
        if let Some(services) = object.metadata.annotations.get(GATEWAY_SERVICE) {
            let named = |target: &&ServiceTarget| services.split(',').any(|name| name.trim() == target.service.hostname.as_str());
            let own = targets.iter().filter(|target| target.service.namespace == object.metadata.namespace);
            let targets: Vec<_> = own.filter(named).collect();
            return (!targets.is_empty()).then_some(Self { targets, literal: false });
        }
        let translated = |target: &&ServiceTarget| {
            let service = snapshot.services.get(&mut Cx::default(), &target.service);
            service.is_none_or(|service| service.labels.get(NO_PORT_TRANSLATION).is_none())
        };
        labels.contain(&object.spec.selector).then(|| Self { targets: targets.iter().filter(translated).collect(), literal: true })
    }

    fn resolve(&self, declared: PortNumber) -> BTreeSet<PortNumber> {
        let mapped: BTreeSet<_> = self.targets.iter().filter(|target| target.port == declared).map(|target| target.target).collect();
        if mapped.is_empty() && self.literal { BTreeSet::from([declared]) } else { mapped }
    }
}

/// The server at each port of the workload that stands behind its port.
fn resolve(object: &Object<Gateway>, server: &Server, ports: &Ports<'_>) -> Vec<(GatewayPort, GatewayServer)> {
    let Some(port) = &server.port else { return Vec::new() };
    let Some(declared_port) = port_number(port.number) else { return Vec::new() };
    let own = &object.metadata.namespace;
    let row = GatewayServer {
        origin: origin(object),
        gateway: format!("{own}/{}", object.metadata.name),
        server: server.clone(),
        declared_port,
        protocol: Protocol::parse(&port.protocol),
        hosts: server.hosts.iter().map(|host| qualified(host, own)).collect(),
    };
    let at = |number| (GatewayPort { number, bind: server.bind.clone() }, row.clone());
    ports.resolve(declared_port).into_iter().map(at).collect()
}

/// `namespace/host`: `.` is the Gateway's own namespace, `*` or none is any.
fn qualified(host: &str, own: &Namespace) -> (Option<Namespace>, Hostname) {
    match host.split_once('/') {
        Some((".", name)) => (Some(own.clone()), Hostname::new(name)),
        Some(("*", name)) => (None, Hostname::new(name)),
        Some((namespace, name)) => (Some(Namespace::new(namespace)), Hostname::new(name)),
        None => (None, Hostname::new(host)),
    }
}

fn compatible(row: &GatewayServer, server: &GatewayServer) -> bool {
    let same_kind = row.protocol.is_http() == server.protocol.is_http() && row.protocol.is_tls() == server.protocol.is_tls();
    let duplicate = server.protocol.is_tls() && server.hosts.iter().any(|(_, host)| row.hosts.iter().any(|(_, other)| other == host));
    same_kind && !duplicate
}
