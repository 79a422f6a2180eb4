//! What a service is to the mesh, wherever it was declared.

use base::{Cidr, ClusterId, Hostname, Labels, Namespace, ObjectRef, PortNumber, Protocol, Visibility};
use std::{net::IpAddr, sync::Arc};

/// The identity of a service: the same host name may be declared in several namespaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceKey {
    /// The host name in full.
    pub hostname: Hostname,
    /// The namespace of the declaring object.
    pub namespace: Namespace,
}

/// Where a service was declared. Kubernetes wins over a ServiceEntry for the same host name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Provider {
    /// A Kubernetes Service.
    Kubernetes,
    /// A ServiceEntry.
    External,
}

/// How the address of an endpoint is found.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Resolution {
    /// The registry knows the endpoints (EDS): Kubernetes Services with an address, ServiceEntry `STATIC`.
    Static,
    /// The proxy resolves names, and balances over all addresses: `DNS`.
    Dns,
    /// The proxy resolves names, and uses one address at a time: `DNS_ROUND_ROBIN`.
    DnsRoundRobin,
    /// The proxy resolves the host name of each request: `DYNAMIC_DNS`.
    DynamicDns,
    /// The proxy goes where the connection was going: headless Services, ServiceEntry `NONE`.
    Passthrough,
    /// Another name of a service: Kubernetes `ExternalName`.
    Alias(Hostname),
}

/// Which port of the workload a service port leads to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TargetPort {
    /// By number.
    Number(PortNumber),
    /// By the name of a container port, so that it may differ from pod to pod.
    Name(Arc<str>),
}

/// One port of a service.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ServicePort {
    /// The number that clients use.
    pub number: PortNumber,
    /// The port's name, which may be empty for a single port.
    pub name: Arc<str>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Where it leads.
    pub target: TargetPort,
}

/// A service.
#[derive(Clone, PartialEq, Debug)]
pub struct Service {
    /// The host name and the namespace of the declaring object.
    pub key: ServiceKey,
    /// Where it was declared.
    pub provider: Provider,
    /// The object that declares it.
    pub origin: ObjectRef,
    /// `metadata.name` of a Kubernetes Service; the host name for others.
    pub name: Arc<str>,
    /// In the order of declaration.
    pub ports: Box<[ServicePort]>,
    /// How its endpoints are found.
    pub resolution: Resolution,
    /// The virtual addresses within each cluster, in the order of these; ServiceEntry addresses are the same in all (empty).
    pub addresses: Box<[(ClusterId, Box<[Cidr]>)]>,
    /// Addresses that clients without one of the above may use, derived from the name.
    pub auto_addresses: Vec<IpAddr>,
    /// Outside of the mesh: no mutual TLS, other defaults.
    pub mesh_external: bool,
    /// A Kubernetes Service without a virtual address.
    pub headless: bool,
    /// Who sees it.
    pub visibility: Visibility,
    /// Seconds since the epoch; the older wins conflicts.
    pub created: Option<i64>,
    /// Labels of the object.
    pub labels: Labels,
    /// Which pods (or workload entries) serve it.
    pub selector: Labels,
    /// Endpoints count before they are ready.
    pub publish_not_ready: bool,
    /// `internalTrafficPolicy: Local`.
    pub node_local: bool,
    /// `trafficDistribution`, as written.
    pub traffic_distribution: Option<Arc<str>>,
    /// Additional SANs that a server of it may present.
    pub subject_alt_names: Vec<String>,
    /// Of the addresses of a DNS name the first that answers is used.
    pub race_first_connect: bool,
}

impl Service {
    /// The port with this number.
    pub fn port(&self, number: PortNumber) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// The virtual addresses for a client in `cluster`: those of its own cluster, else of any other (Istio's
    /// `GetAddressForProxy`), without the addresses derived from the name.
    pub fn addresses_in(&self, cluster: &ClusterId) -> &[Cidr] {
        let own = self.addresses.iter().find(|(known, _)| known == cluster);
        own.or_else(|| self.addresses.first()).map(|(_, addresses)| &**addresses).unwrap_or_default()
    }

    /// How clients keep to one endpoint, if they do (Istio's labels `istio.io/persistent-session`, a cookie with its path
    /// behind a colon, and `istio.io/persistent-session-header`).
    pub fn session(&self) -> Option<Session> {
        let label = |name: &str| self.labels.get(name).filter(|value| !value.is_empty());
        if let Some(cookie) = label("istio.io/persistent-session") {
            let (name, path) = cookie.split_once(':').unwrap_or((cookie, "/"));
            return Some(Session::Cookie { name: name.to_owned(), path: path.to_owned() });
        }
        label("istio.io/persistent-session-header").map(|name| Session::Header(name.to_owned()))
    }

    /// Whether clients may keep to one endpoint, so that one that is draining still gets them.
    pub fn keeps_sessions(&self) -> bool {
        self.session().is_some()
    }

    /// Oldest first, then by namespace and host name: the order in which services win conflicts.
    pub fn age_order(&self) -> (i64, &Namespace, &Hostname) {
        (self.created.unwrap_or(i64::MIN), &self.key.namespace, &self.key.hostname)
    }
}

/// One port of a service as one workload serves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceTarget {
    /// The service.
    pub service: ServiceKey,
    /// Its port, by the number that clients use.
    pub port: PortNumber,
    /// The port of the workload.
    pub target: PortNumber,
}

/// What tells the endpoint of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Session {
    /// A cookie.
    Cookie {
        /// Its name.
        name: String,
        /// The path for which it holds.
        path: String,
    },
    /// A header.
    Header(String),
}
