//! The clusters with fixed names that every proxy has.

use super::connection_pool::{self, circuit_breakers, unlimited};
use super::dns_cache::DnsCache;
use super::draft::ClusterDraft;
use super::inputs::{ClusterMeshDefaults, IpFamilies};
use super::outbound::dynamic_forward_proxy;
use super::{metadata, transport_socket};
use crate::tls::{self, CredentialSource, SecretNames};
use istio_api::Duration;
use istio_api::networking::destination_rule::{ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings};
use xds_api::envoy::config::cluster::v3::{
    Cluster,
    cluster::{DiscoveryType, LbConfig, LbPolicy, OriginalDstLbConfig},
};
use xds_api::envoy::config::core::v3::{BindConfig, ExtraSourceAddress, SocketAddress, socket_address::PortSpecifier};
use xds_api::envoy::r#type::metadata::v3::{
    MetadataKey,
    metadata_key::{PathSegment, path_segment::Segment},
};

/// Refuses what nobody owns.
pub const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";
/// Sends what nobody owns to where the client wanted.
pub const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";
/// The same on the way in.
pub const INBOUND_PASSTHROUGH_CLUSTER: &str = "InboundPassthroughCluster";
/// Resolves the name that an unknown request asks for (`outboundTrafficPolicy: ALLOW_ANY_DYNAMIC_DNS`).
pub const DYNAMIC_DNS_CLUSTER: &str = "AllowAnyDynamicDNSCluster";
/// The outer connection of HBONE.
pub const CONNECT_ORIGINATE_CLUSTER: &str = "connect_originate";

/// The port of HBONE.
const HBONE_PORT: u32 = 15008;
/// Idle connections of passthrough clusters are closed after this time.
const PASSTHROUGH_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// The source address by which traffic rules know the proxy's own connections to its workload (Istio's `127.0.0.6` and
/// `::6`): without it they would be captured again.
pub(super) fn passthrough_bind(families: IpFamilies) -> BindConfig {
    let socket = |address: &str| SocketAddress {
        address: address.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(0)),
        ..SocketAddress::default()
    };
    let (first, second) = match families {
        IpFamilies::V4 => ("127.0.0.6", None),
        IpFamilies::V6 => ("::6", None),
        IpFamilies::Dual { v6_first: false } => ("127.0.0.6", Some("::6")),
        IpFamilies::Dual { v6_first: true } => ("::6", Some("127.0.0.6")),
    };
    let extra = |address| ExtraSourceAddress { address: Some(socket(address)), ..ExtraSourceAddress::default() };
    BindConfig {
        source_address: Some(socket(first)),
        extra_source_addresses: second.map(extra).into_iter().collect(),
        ..BindConfig::default()
    }
}

/// [`BLACK_HOLE_CLUSTER`]
pub fn blackhole_cluster(mesh: &ClusterMeshDefaults) -> Cluster {
    let mut draft = ClusterDraft::new(BLACK_HOLE_CLUSTER, None, DiscoveryType::Static, mesh.connect_timeout);
    draft.cluster.metadata = metadata::in_place_of_service(BLACK_HOLE_CLUSTER);
    draft.finish()
}

fn passthrough(name: &str, mesh: &ClusterMeshDefaults, pool: Option<&ConnectionPoolSettings>) -> ClusterDraft {
    let mut draft = ClusterDraft::new(name, Some(PASSTHROUGH_CLUSTER), DiscoveryType::OriginalDst, mesh.connect_timeout);
    draft.cluster.lb_policy = LbPolicy::ClusterProvided.into();
    draft.use_client_protocol();
    draft.common_http().idle_timeout = Some(PASSTHROUGH_IDLE_TIMEOUT.0.into());
    draft.cluster.metadata = metadata::in_place_of_service(name);
    connection_pool::apply(&mut draft, mesh, pool, None);
    draft
}

/// [`PASSTHROUGH_CLUSTER`]; `pool` is that of `MeshConfig.defaultTrafficPolicy`.
pub fn passthrough_cluster(mesh: &ClusterMeshDefaults, pool: Option<&ConnectionPoolSettings>) -> Cluster {
    passthrough(PASSTHROUGH_CLUSTER, mesh, pool).finish()
}

/// [`INBOUND_PASSTHROUGH_CLUSTER`], which is `PassthroughCluster` in statistics; `pool` is the Sidecar's
/// `inboundConnectionPool`.
pub fn inbound_passthrough_cluster(mesh: &ClusterMeshDefaults, pool: Option<&ConnectionPoolSettings>, families: IpFamilies) -> Cluster {
    let mut draft = passthrough(INBOUND_PASSTHROUGH_CLUSTER, mesh, pool);
    draft.cluster.upstream_bind_config = Some(passthrough_bind(families));
    draft.finish()
}

/// [`DYNAMIC_DNS_CLUSTER`]; `settings` is `outboundTrafficPolicy.tls`, under which hosts are called. TLS that cannot be made
/// leaves none, as for the clusters of rules. With the secrets that it wants of istiod.
pub fn dynamic_dns_cluster(
    mesh: &ClusterMeshDefaults,
    families: IpFamilies,
    settings: Option<&ClientTlsSettings>,
    credentials: CredentialSource,
) -> Option<(Cluster, SecretNames)> {
    let mut secrets = SecretNames::default();
    let mut draft = passthrough(DYNAMIC_DNS_CLUSTER, mesh, None);
    draft.cluster.alt_stat_name = format!("{DYNAMIC_DNS_CLUSTER};");
    let mut insecure = true;
    if let Some(settings) = settings.filter(|settings| matches!(settings.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)) {
        let inputs = tls::UserTlsInputs {
            settings,
            service_names: &[],
            http2: false,
            defaults: mesh.tls_defaults.as_ref(),
            credentials,
            credentials_honoured: false,
        };
        let context = tls::user_tls(&inputs).ok()??;
        secrets = context.common_tls_context.as_ref().map(SecretNames::of).unwrap_or_default();
        transport_socket::set_automatic_names(&mut draft, settings);
        let options = draft.upstream_http();
        insecure = !(options.auto_sni && options.auto_san_validation);
        draft.cluster.transport_socket = Some(tls::upstream_transport_socket(&context));
    }
    draft.cluster.cluster_discovery_type = Some(dynamic_forward_proxy(&DnsCache::allow_any(families), insecure));
    Some((draft.finish(), secrets))
}

/// [`CONNECT_ORIGINATE_CLUSTER`]: HTTP/2 CONNECT over mTLS to the address in the connection's metadata.
pub fn connect_originate_cluster(mesh: &ClusterMeshDefaults, trust_domain: &str) -> Cluster {
    let mut draft = ClusterDraft::new(CONNECT_ORIGINATE_CLUSTER, None, DiscoveryType::OriginalDst, mesh.connect_timeout);
    draft.cluster.lb_policy = LbPolicy::ClusterProvided.into();
    draft.cluster.cleanup_interval = Some(Duration::from_secs(60).0.into());
    draft.cluster.circuit_breakers = Some(circuit_breakers(unlimited()));
    let waypoint = PathSegment { segment: Some(Segment::Key("waypoint".to_owned())) };
    draft.cluster.lb_config = Some(LbConfig::OriginalDstLbConfig(OriginalDstLbConfig {
        upstream_port_override: Some(HBONE_PORT.into()),
        metadata_key: Some(MetadataKey { key: "envoy.filters.listener.original_dst".to_owned(), path: vec![waypoint] }),
        ..OriginalDstLbConfig::default()
    }));
    draft.use_http2();
    if let Some(http2) = draft.http2() {
        http2.allow_connect = true;
    }
    draft.common_http().idle_timeout = Some(mesh.hbone_idle_timeout.0.into());
    draft.cluster.transport_socket = Some(tls::hbone_transport_socket(trust_domain));
    draft.finish()
}
