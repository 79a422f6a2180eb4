//! What is known of a connected proxy: exactly the fields of its node that anything built for it may read.

use base::{ClusterId, Labels, Locality, Namespace, NetworkId};
use std::{net::IpAddr, sync::Arc};

/// The kind of a proxy, the first part of its node id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProxyKind {
    /// Beside a workload.
    Sidecar,
    /// A gateway.
    Router,
}

/// How traffic reaches a sidecar (`INTERCEPTION_MODE`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum InterceptionMode {
    /// iptables REDIRECT.
    #[default]
    Redirect,
    /// iptables TPROXY, which keeps the source address.
    Tproxy,
    /// Nothing is captured: clients address the listeners.
    None,
}

/// Whether the proxy can get certificates of the mesh over SDS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Certificates {
    /// A bare Envoy without an agent: nothing that it is sent may name a secret of the mesh.
    None,
    /// An agent serves `default` and `ROOTCA` on its socket (cluster `sds-grpc`).
    Sds,
}

/// A certificate in files beside the proxy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CertificateFiles {
    /// The certificate and its intermediates.
    pub certificate: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// The authorities of peers; empty if they are not in a file.
    pub authorities: Arc<str>,
}

/// Which families of addresses the proxy has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IpFamilies {
    /// IPv4 only; also when no address is known.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Dual,
}

impl IpFamilies {
    /// The families of these addresses.
    pub fn of(addresses: &[IpAddr]) -> Self {
        match (addresses.iter().any(IpAddr::is_ipv4), addresses.iter().any(IpAddr::is_ipv6)) {
            (true, true) => Self::Dual,
            (false, true) => Self::V6,
            _ => Self::V4,
        }
    }

    /// The address that means all of them.
    pub fn wildcard(self) -> &'static str {
        if self == Self::V6 { "::" } else { "0.0.0.0" }
    }

    /// The address of the host itself.
    pub fn localhost(self) -> &'static str {
        if self == Self::V6 { "::1" } else { "127.0.0.1" }
    }
}

/// A proxy, as it presented itself. Each field says what it keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProxyTraits {
    /// The node id as sent, for people.
    pub id: Arc<str>,
    /// Everything.
    pub kind: ProxyKind,
    /// `NAMESPACE`: visibility, rules, names.
    pub namespace: Namespace,
    /// The domain of the node id, `<namespace>.svc.cluster.local`: short names in virtual hosts.
    pub dns_domain: Arc<str>,
    /// The addresses: which services it serves, which headless listeners it skips, the bind address in NONE mode.
    pub addresses: Vec<IpAddr>,
    /// `LABELS`: selectors and source labels.
    pub labels: Labels,
    /// `CLUSTER_ID`: which virtual addresses, cluster-local services.
    pub cluster: ClusterId,
    /// `NETWORK`: which endpoints are reached through a gateway.
    pub network: NetworkId,
    /// `REQUESTED_NETWORK_VIEW`: the only networks whose endpoints it wants; none is all.
    pub network_view: Vec<NetworkId>,
    /// `DISABLE_HBONE_SEND`: it never calls through HBONE.
    pub refuses_hbone: bool,
    /// Of the node; where it says nothing, that of its workload counts: the priorities of endpoints.
    pub locality: Locality,
    /// `ENABLE_SELF_DISCOVERY`: its bootstrap names the endpoints of its own workload as Envoy's local cluster, by whose zones
    /// Envoy balances.
    pub discovers_itself: bool,
    /// `NODE_NAME`: services with a node-local policy.
    pub node: Arc<str>,
    /// `INTERCEPTION_MODE`: bind addresses of listeners.
    pub interception: InterceptionMode,
    /// `ISTIO_VERSION` or our agent's mark: TLS of the mesh or none.
    pub certificates: Certificates,
    /// `ISTIO_VERSION`, for metrics and `proxy-status`; keys nothing yet.
    pub version: Arc<str>,
    /// `TLS_SERVER_CERT_CHAIN`, `TLS_SERVER_KEY`, `TLS_SERVER_ROOT_CERT`: files in place of the agent's certificate, on the way
    /// in.
    pub server_files: Option<CertificateFiles>,
    /// `TLS_CLIENT_CERT_CHAIN`, `TLS_CLIENT_KEY`, `TLS_CLIENT_ROOT_CERT`: the same on the way out.
    pub client_files: Option<CertificateFiles>,
    /// `HTTP10`: whether HTTP/1.0 is accepted.
    pub http10: bool,
    /// `IDLE_TIMEOUT` as written: of connections.
    pub idle_timeout: Arc<str>,
    /// The parts of `PROXY_CONFIG` that listeners depend on, as JSON; `None` if the node sent none, so that the mesh's hold.
    pub proxy_config: Option<Arc<str>>,
    /// `credential`: a provider of credentials listens on a socket beside the proxy.
    pub external_credentials: bool,
    /// `INBOUND_LISTENER_EXACT_BALANCE`: of inbound listeners, and those of gateways.
    pub inbound_exact_balance: bool,
    /// `OUTBOUND_LISTENER_EXACT_BALANCE`
    pub outbound_exact_balance: bool,
    /// `HTTP_PROXY_PORT`: an explicit proxy listener.
    pub http_proxy_port: u16,
    /// `UNPRIVILEGED_POD`: ports below 1024 are skipped where the proxy would have to bind them.
    pub unprivileged: bool,
    /// `DNS_CAPTURE`: the agent answers DNS, with automatic addresses for services that have none.
    pub dns_capture: bool,
    /// `SERVICE_ACCOUNT`.
    pub service_account: Arc<str>,
    /// The name of the workload, for the labels of metrics.
    pub workload: Arc<str>,
}

impl ProxyTraits {
    /// Which families of addresses it has.
    pub fn ip_families(&self) -> IpFamilies {
        IpFamilies::of(&self.addresses)
    }
}
