//! All that an outbound cluster depends on.

use super::policy::ClusterPolicy;
use crate::endpoint::{LocalityGroup, LocalitySettings};
use crate::tls::{CertificateFiles, CredentialSource};
use base::{Hostname, ObjectRef, PortNumber, Protocol};
use istio_api::Duration;
use istio_api::mesh::mesh_config::{H2UpgradePolicy, MeshConfig, TlsConfig};
use istio_api::networking::destination_rule::{LocalityLoadBalancerSetting, TcpKeepalive, ZoneAwareLoadBalancerSetting};

/// How the endpoints of a cluster are found.
#[derive(Clone, Copy, Debug)]
pub enum Discovery<'a> {
    /// Over EDS on the same stream.
    Eds,
    /// Each name is resolved, and every address is an endpoint.
    StrictDns {
        /// The names.
        endpoints: &'a [LocalityGroup],
    },
    /// One name, whose current address is used for new connections.
    LogicalDns {
        /// The name.
        endpoints: &'a [LocalityGroup],
        /// Whether addresses of both families race (annotation `istio.io/connect-strategy: RACE_FIRST_TCP_CONNECT`).
        race_first_connect: bool,
    },
    /// The address that the client asked for.
    OriginalDst {
        /// Another port than the client asked for (`targetPort` of a ServiceEntry).
        port_override: Option<PortNumber>,
    },
    /// The name that the request asks for is resolved.
    DynamicForwardProxy,
}

/// Which IP families a proxy has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum IpFamilies {
    /// IPv4 only.
    #[default]
    V4,
    /// IPv6 only.
    V6,
    /// Both; the first address tells which family is preferred.
    Dual {
        /// Whether IPv6 comes first.
        v6_first: bool,
    },
}

/// What kind of proxy the cluster is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum ProxyKind {
    /// Beside a workload.
    #[default]
    Sidecar,
    /// On its own.
    Gateway,
}

/// Whether a proxy has a certificate of the mesh.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Certificates {
    /// None: it has no agent, and its bootstrap no `sds-grpc` cluster.
    None,
    /// From its agent, over SDS.
    #[default]
    Sds,
}

/// Whether mTLS is chosen where no rule says anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum AutoMtls {
    /// No: it is turned off in the mesh, the service is external or accepts plain text only, or an endpoint of a headless
    /// service cannot do mTLS.
    #[default]
    Off,
    /// Yes, for the endpoints that say `tlsMode: istio`.
    On,
}

/// The proxy for which the cluster is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ClusterProxy {
    /// Its IP families.
    pub families: IpFamilies,
    /// Its kind.
    pub kind: ProxyKind,
    /// Whether it has a certificate.
    pub certificates: Certificates,
    /// Where it gets Secrets.
    pub credentials: CredentialSource,
    /// Whether it sends HBONE.
    pub hbone: bool,
    /// `proxyHeaders.preserveHttp1HeaderCase`
    pub preserves_header_case: bool,
    /// Whether it knows the zones of its own workload (`ENABLE_SELF_DISCOVERY`).
    pub discovers_itself: bool,
    /// `connectionSettings.clusterPerConnectionBufferLimitBytes`
    pub buffer_limit: Option<u32>,
}

/// The settings of the mesh under all clusters.
#[derive(Clone, PartialEq, Debug)]
pub struct ClusterMeshDefaults {
    /// `connectTimeout`
    pub connect_timeout: Duration,
    /// `dnsRefreshRate`
    pub dns_refresh_rate: Duration,
    /// `hboneIdleTimeout`
    pub hbone_idle_timeout: Duration,
    /// `tcpKeepalive`
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `h2UpgradePolicy`
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// `tlsDefaults`
    pub tls_defaults: Option<TlsConfig>,
    /// `localityLbSetting`
    pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
    /// `zoneAwareLbSetting`
    pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
}

impl ClusterMeshDefaults {
    /// What the mesh says about localities.
    pub fn localities(&self) -> LocalitySettings<'_> {
        LocalitySettings { distance: self.locality_lb_setting.as_ref(), zone_aware: self.zone_aware_lb_setting.as_ref() }
    }
}

impl From<&MeshConfig> for ClusterMeshDefaults {
    fn from(mesh: &MeshConfig) -> Self {
        let or_default =
            |duration: Option<Duration>, seconds| duration.filter(|value| !value.is_zero()).unwrap_or(Duration::from_secs(seconds));
        Self {
            connect_timeout: or_default(mesh.connect_timeout, 10),
            dns_refresh_rate: or_default(mesh.dns_refresh_rate, 60),
            hbone_idle_timeout: or_default(mesh.hbone_idle_timeout, 3600),
            tcp_keepalive: mesh.tcp_keepalive.clone(),
            h2_upgrade_policy: mesh.h2_upgrade_policy,
            tls_defaults: mesh.tls_defaults.clone(),
            locality_lb_setting: mesh.locality_lb_setting.clone(),
            zone_aware_lb_setting: mesh.zone_aware_lb_setting.clone(),
        }
    }
}

/// A service in the metadata of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceMetadata<'a> {
    /// Its host name.
    pub host: &'a str,
    /// Its short name: that of the Kubernetes Service, else the host name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
}

/// What a cluster says about itself to filters and in statistics.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterMetadata<'a> {
    /// The DestinationRule, if one holds.
    pub rule: Option<&'a ObjectRef>,
    /// Whether the rule selects workloads, without which sidecars do not honour its `credentialName`.
    pub rule_selects_workloads: bool,
    /// The services behind the cluster.
    pub services: &'a [ServiceMetadata<'a>],
    /// Whether the service lies outside of the mesh.
    pub mesh_external: bool,
    /// Whether all endpoints are reached through HBONE, which carries the peers' metadata by itself.
    pub all_hbone: bool,
}

/// All that an outbound cluster depends on.
#[derive(Clone, Copy, Debug)]
pub struct OutboundClusterInputs<'a> {
    /// `outbound|80|v1|reviews.shop.svc.cluster.local`
    pub name: &'a str,
    /// The name in statistics, if `outboundClusterStatName` of the mesh asks for another.
    pub stat_name: Option<&'a str>,
    /// The service.
    pub hostname: &'a Hostname,
    /// Its port.
    pub port: PortNumber,
    /// What the port speaks.
    pub protocol: Protocol,
    /// The subset, if the cluster is of one.
    pub subset: Option<&'a str>,
    /// How endpoints are found.
    pub discovery: Discovery<'a>,
    /// The policy that holds for this port and subset; see [`super::merge_policy`].
    pub policy: &'a ClusterPolicy,
    /// The mesh's settings.
    pub mesh: &'a ClusterMeshDefaults,
    /// The proxy.
    pub proxy: &'a ClusterProxy,
    /// The certificate that the proxy has in files, in place of the agent's.
    pub client_files: Option<CertificateFiles<'a>>,
    /// Whether mTLS is used where the policy has no `tls`.
    pub auto_mtls: AutoMtls,
    /// The identities of the endpoints (SPIFFE URIs and `subjectAltNames` of the ServiceEntry), sorted; for mTLS.
    pub service_accounts: &'a [String],
    /// `subjectAltNames` of the ServiceEntry; for TLS that a rule sets without names of its own.
    pub subject_alt_names: &'a [String],
    /// Whether keys are spread over endpoints where the policy chooses no load balancer: by Redis' own hash.
    pub spreads_keys: bool,
    /// `ENABLE_LOCALITY_WEIGHTED_LB_CONFIG`: localities are weighted wherever their load balancing is on.
    pub weights_localities: bool,
    /// Whether draining endpoints are kept for persistent sessions.
    pub persistent_session: bool,
    /// What the cluster says about itself.
    pub metadata: ClusterMetadata<'a>,
}
