//! Who shares what: proxies that would get the same bytes are one class.

use base::{Address, ClusterId, Labels, Locality, Namespace, NetworkId};
use model::{CertificateFiles, Certificates, InterceptionMode, IpFamilies, ProxyKind, ProxyTraits, Snapshot};
use registry::{Registry, ServiceTarget};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// Everything of a proxy that reaches a builder. Two proxies with equal keys get the same view.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClassKey {
    /// Sidecar or gateway.
    pub kind: ProxyKind,
    /// Visibility, rules, short names.
    pub namespace: Namespace,
    /// Short names.
    pub dns_domain: Arc<str>,
    /// Only the labels by which some object selects proxies.
    pub labels: Labels,
    /// Which virtual addresses.
    pub cluster: ClusterId,
    /// The priorities of endpoints; empty where nothing looks at it.
    pub locality: Locality,
    /// Its network, where there are gateways between networks.
    pub network: NetworkId,
    /// The only networks whose endpoints it wants; none is all.
    pub network_view: Vec<NetworkId>,
    /// Whether it calls endpoints through HBONE that take it.
    pub hbone: bool,
    /// Whether it knows the zones of its own workload.
    pub discovers_itself: bool,
    /// Services that stay on the node, where there are any.
    pub node: Arc<str>,
    /// Families of listeners and DNS look-ups.
    pub families: IpFamilies,
    /// Bind addresses.
    pub interception: InterceptionMode,
    /// TLS of the mesh or none.
    pub certificates: Certificates,
    /// Its own certificate in files, on the way in.
    pub server_files: Option<CertificateFiles>,
    /// The same on the way out.
    pub client_files: Option<CertificateFiles>,
    /// HTTP/1.0.
    pub http10: bool,
    /// How long a connection may be silent, as written.
    pub idle_timeout: Arc<str>,
    /// Its own ProxyConfig, if it sent one.
    pub proxy_config: Option<Arc<str>>,
    /// Whether credentials may come from a provider beside the proxy.
    pub external_credentials: bool,
    /// Whether connections to inbound, and to outbound listeners are spread evenly over threads.
    pub exact_balance: (bool, bool),
    /// Ports below 1024.
    pub unprivileged: bool,
    /// Whether automatic addresses are used.
    pub dns_capture: bool,
    /// An explicit proxy listener.
    pub http_proxy_port: u16,
    /// What the workload serves: its inbound listeners.
    pub targets: Vec<Target>,
    /// Which endpoints are those of its own workload, if it knows their zones.
    pub own_workload: Option<OwnWorkload>,
    /// What the proxy's metrics call its workload.
    pub workload: WorkloadNames,
    /// Own addresses, only where they matter: without capture, with a Sidecar's inbound listeners, or if a headless service
    /// has one of them.
    pub addresses: Vec<IpAddr>,
}

/// What the endpoints of a proxy's own workload have in common with it (Istio's `ENABLE_SELF_DISCOVERY`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OwnWorkload {
    /// `WORKLOAD_NAME`; empty if the node does not say it.
    pub name: Arc<str>,
    /// The region.
    pub region: Arc<str>,
    /// The values of [`REVISION_LABELS`].
    pub revision: Vec<Arc<str>>,
}

/// The labels that tell the revisions of a workload apart: those of Deployments and of Argo's Rollouts.
pub const REVISION_LABELS: [&str; 2] = ["pod-template-hash", "rollouts-pod-template-hash"];

impl OwnWorkload {
    fn of(proxy: &ProxyTraits, locality: &Locality) -> Option<Self> {
        let label = |key: &&str| Arc::from(proxy.labels.get(key).unwrap_or_default());
        let revision = || REVISION_LABELS.iter().map(label).collect();
        proxy.discovers_itself.then(|| Self { name: proxy.workload.clone(), region: locality.region.clone(), revision: revision() })
    }
}

/// The names under which a workload appears in metrics. All pods of a Deployment share them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WorkloadNames {
    /// `WORKLOAD_NAME` of the node.
    pub name: Arc<str>,
    /// Label `app`.
    pub app: Arc<str>,
    /// Label `version`.
    pub version: Arc<str>,
    /// The canonical service.
    pub canonical_service: Arc<str>,
    /// The canonical revision.
    pub canonical_revision: Arc<str>,
}

impl WorkloadNames {
    fn of(proxy: &ProxyTraits) -> Self {
        let label = |keys: &[&str]| keys.iter().find_map(|key| proxy.labels.get(key)).map(Arc::from);
        let canonical_service = label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
        let canonical_revision = label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
        Self {
            name: proxy.workload.clone(),
            app: label(&["app"]).unwrap_or_default(),
            version: label(&["version"]).unwrap_or_default(),
            canonical_service: canonical_service.unwrap_or_else(|| proxy.workload.clone()),
            canonical_revision: canonical_revision.unwrap_or_else(|| Arc::from("latest")),
        }
    }
}

/// A [`ServiceTarget`] with an order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Target {
    /// The service.
    pub service: registry::ServiceKey,
    /// Its port, as clients see it.
    pub port: u16,
    /// The port of the workload.
    pub target: u16,
}

/// The key of a proxy.
pub fn key_of(proxy: &ProxyTraits, snapshot: &Snapshot, registry: &Registry) -> ClassKey {
    let mut targets: Vec<Target> = proxy.addresses.iter().flat_map(|address| registry.targets(*address)).map(target).collect();
    targets.sort();
    targets.dedup();
    let own_headless = targets.iter().any(|target| is_headless(snapshot, target));
    // A Sidecar's inbound listeners are at the workload's own address, and may send to it.
    let ingress = model::select_sidecar(snapshot, &proxy.namespace, &proxy.labels).is_some_and(|sidecar| !sidecar.spec.ingress.is_empty());
    let placed = snapshot.locality_matters || proxy.discovers_itself;
    let locality = if placed { locality(proxy, snapshot, &targets) } else { Locality::default() };
    let addresses_matter = proxy.interception == InterceptionMode::None || own_headless || ingress;
    ClassKey {
        kind: proxy.kind,
        namespace: proxy.namespace.clone(),
        dns_domain: proxy.dns_domain.clone(),
        labels: selecting(&proxy.labels, snapshot),
        cluster: proxy.cluster.clone(),
        own_workload: OwnWorkload::of(proxy, &locality),
        locality: if snapshot.locality_matters { locality } else { Locality::default() },
        network: if snapshot.network_matters() { proxy.network.clone() } else { NetworkId::default() },
        network_view: proxy.network_view.clone(),
        hbone: snapshot.features.sending_hbone && !proxy.refuses_hbone && proxy.certificates == Certificates::Sds,
        discovers_itself: proxy.discovers_itself,
        node: if snapshot.node_matters { proxy.node.clone() } else { Arc::default() },
        families: proxy.ip_families(),
        interception: proxy.interception,
        certificates: proxy.certificates,
        server_files: proxy.server_files.clone(),
        client_files: proxy.client_files.clone(),
        http10: proxy.http10,
        idle_timeout: proxy.idle_timeout.clone(),
        proxy_config: proxy.proxy_config.clone(),
        external_credentials: proxy.external_credentials,
        exact_balance: (proxy.inbound_exact_balance, proxy.outbound_exact_balance),
        unprivileged: proxy.unprivileged,
        dns_capture: proxy.dns_capture,
        http_proxy_port: proxy.http_proxy_port,
        targets,
        workload: WorkloadNames::of(proxy),
        addresses: if addresses_matter { proxy.addresses.clone() } else { Vec::new() },
    }
}

/// Where a proxy is: as its node says, else as its workload's endpoints do, else by its labels.
fn locality(proxy: &ProxyTraits, snapshot: &Snapshot, targets: &[Target]) -> Locality {
    if !proxy.locality.is_empty() {
        return proxy.locality.clone();
    }
    let own = |endpoint: &&registry::Endpoint| matches!(endpoint.address, Address::Ip(address) if proxy.addresses.contains(&address));
    let endpoint = targets.iter().find_map(|target| snapshot.endpoints_of(&target.service).iter().find(own));
    let of_workload = endpoint.map(|endpoint| endpoint.workload.locality.clone()).filter(|locality| !locality.is_empty());
    of_workload.unwrap_or_else(|| Locality::of_labels(&proxy.labels))
}

fn target(target: &ServiceTarget) -> Target {
    Target { service: target.service.clone(), port: target.port, target: target.target }
}

fn is_headless(snapshot: &Snapshot, target: &Target) -> bool {
    snapshot.services.get(&mut incremental::Cx::default(), &target.service).is_some_and(|service| service.headless)
}

/// The labels that tell proxies apart; all others are dropped, so that a thousand `pod-template-hash`es are one class.
fn selecting(labels: &Labels, snapshot: &Snapshot) -> Labels {
    let kept: BTreeMap<String, String> = labels
        .iter()
        .filter(|(key, _)| snapshot.selecting_labels.contains(*key))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Labels::from(kept)
}

/// A class with what it is served.
#[derive(Default)]
pub struct Class {
    /// The newest view.
    pub view: Arc<xds_wire::View>,
    /// What it shares with no other class.
    pub(crate) own: crate::own::Own,
    /// What newer contents have replaced, should those be refused.
    pub(crate) replaced: crate::held::Replaced,
}

impl ClassKey {
    /// The key without what only a proxy's own listeners depend on: classes with equal parts share their clusters,
    /// endpoints and outbound routes. Builders of these are given this key, so that they cannot read the rest.
    pub fn part(&self) -> Self {
        Self {
            targets: Vec::new(),
            server_files: None,
            own_workload: None,
            workload: WorkloadNames::default(),
            addresses: Vec::new(),
            ..self.clone()
        }
    }
}
