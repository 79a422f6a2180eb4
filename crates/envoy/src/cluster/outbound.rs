//! The cluster of a service port or of a subset of it.

use super::dns_cache::DnsCache;
use super::draft::{ClusterDraft, envoy_duration};
use super::inputs::{Discovery, IpFamilies, OutboundClusterInputs, ProxyKind};
use super::{connection_pool, load_balancer, metadata, outlier_detection, transport_socket};
use crate::endpoint::{LocalityGroup, cluster_load_assignment};
use base::Diagnostic;
use istio_api::Duration;
use xds_api::Wire;
use xds_api::envoy::config::cluster::v3::{
    Cluster,
    cluster::{
        ClusterDiscoveryType, CustomClusterType, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbConfig, LbPolicy, OriginalDstLbConfig,
    },
};
use xds_api::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, TypedExtensionConfig, config_source::ConfigSourceSpecifier,
};
use xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_api::envoy::extensions::clusters::dynamic_forward_proxy::v3::{ClusterConfig, cluster_config::ClusterImplementationSpecifier};
use xds_api::envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;
use xds_api::google::protobuf::Duration as EnvoyDuration;

/// Spreads DNS queries of many proxies (`PILOT_DNS_JITTER_DURATION`).
const DNS_JITTER: Duration = Duration::from_millis(100);
/// Renews the UDP channel of c-ares from time to time (`PILOT_DNS_CARES_UDP_MAX_QUERIES`).
const CARES_UDP_MAX_QUERIES: u32 = 100;

/// Makes the cluster; none for DNS without a name to resolve and for TLS that cannot be made, which a diagnostic tells.
pub fn outbound_cluster(inputs: &OutboundClusterInputs<'_>) -> (Option<Cluster>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let Some(mut draft) = discover(inputs, &mut diagnostics) else { return (None, diagnostics) };
    if inputs.protocol.is_http2() {
        draft.use_http2();
    } else if inputs.protocol.is_unsupported() && inputs.proxy.kind == ProxyKind::Sidecar {
        draft.use_client_protocol();
    }
    let policy = inputs.policy;
    connection_pool::apply(&mut draft, inputs.mesh, policy.connection_pool.as_ref(), policy.retry_budget.as_ref());
    let http = policy.connection_pool.as_ref().and_then(|pool| pool.http.as_ref());
    connection_pool::apply_http_version(&mut draft, inputs.mesh, http, inputs.protocol);
    let dynamic = matches!(inputs.discovery, Discovery::DynamicForwardProxy);
    if dynamic {
        draft.cluster.lb_policy = LbPolicy::ClusterProvided.into();
    } else {
        outlier_detection::apply(&mut draft, policy.outlier_detection.as_ref());
        load_balancer::apply(&mut draft, inputs);
    }
    let http = inputs.protocol.is_http() || inputs.protocol.is_unsupported();
    let mesh_mtls = match transport_socket::apply(&mut draft, inputs) {
        Ok(mesh_mtls) => mesh_mtls,
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            return (None, diagnostics);
        }
    };
    if dynamic {
        let insecure = draft.cluster.transport_socket.is_some() && !checks_names(&mut draft);
        let cache = DnsCache::of_service(inputs.hostname, inputs.proxy.families);
        draft.cluster.cluster_discovery_type = Some(dynamic_forward_proxy(&cache, insecure));
    }
    draft.cluster.per_connection_buffer_limit_bytes = inputs.proxy.buffer_limit.map(Into::into);
    if inputs.proxy.preserves_header_case {
        draft.preserve_header_case(inputs.protocol);
    }
    draft.cluster.metadata = metadata::outbound(inputs, (mesh_mtls && http).then(|| draft.protocol()));
    (Some(draft.finish()), diagnostics)
}

/// The cluster with what belongs to its type.
fn discover(inputs: &OutboundClusterInputs<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<ClusterDraft> {
    let draft = |discovery| ClusterDraft::new(inputs.name, inputs.stat_name, discovery, inputs.mesh.connect_timeout);
    let family = lookup_family(inputs.proxy.families);
    Some(match inputs.discovery {
        Discovery::Eds => {
            let mut draft = draft(DiscoveryType::Eds);
            draft.cluster.eds_cluster_config = Some(eds(inputs.name));
            draft
        }
        Discovery::StrictDns { endpoints } => dns(draft(DiscoveryType::StrictDns), inputs, endpoints, family)?,
        Discovery::LogicalDns { endpoints, race_first_connect } => {
            let family = if race_first_connect { DnsLookupFamily::All } else { family };
            let mut draft = dns(draft(DiscoveryType::LogicalDns), inputs, endpoints, family)?;
            keep_one(&mut draft, inputs, diagnostics);
            draft
        }
        Discovery::OriginalDst { port_override } => {
            let mut draft = draft(DiscoveryType::OriginalDst);
            let config =
                |port: u16| OriginalDstLbConfig { upstream_port_override: Some(u32::from(port).into()), ..OriginalDstLbConfig::default() };
            draft.cluster.lb_config = port_override.map(|port| LbConfig::OriginalDstLbConfig(config(port)));
            draft
        }
        // The real type is set at the end, when TLS is known.
        Discovery::DynamicForwardProxy => draft(DiscoveryType::Static),
    })
}

/// Endpoints over the same stream, for which Envoy waits as long as needed.
fn eds(service_name: &str) -> EdsClusterConfig {
    let source = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
        initial_fetch_timeout: Some(EnvoyDuration::default()),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    };
    EdsClusterConfig { eds_config: Some(source), service_name: service_name.to_owned() }
}

/// Which addresses are asked for.
pub(super) fn lookup_family(families: IpFamilies) -> DnsLookupFamily {
    match families {
        IpFamilies::V4 => DnsLookupFamily::V4Only,
        IpFamilies::V6 => DnsLookupFamily::V6Only,
        IpFamilies::Dual { .. } => DnsLookupFamily::All,
    }
}

#[expect(deprecated, reason = "Istio's form; the extension that replaces it is another cluster type, which EnvoyFilters do not expect")]
fn dns(
    mut draft: ClusterDraft,
    inputs: &OutboundClusterInputs<'_>,
    endpoints: &[LocalityGroup],
    family: DnsLookupFamily,
) -> Option<ClusterDraft> {
    if endpoints.iter().all(|group| group.endpoints.is_empty()) {
        return None;
    }
    let resolver = CaresDnsResolverConfig { udp_max_queries: Some(CARES_UDP_MAX_QUERIES.into()), ..CaresDnsResolverConfig::default() };
    let cluster = &mut draft.cluster;
    cluster.dns_lookup_family = family.into();
    cluster.dns_refresh_rate = Some(envoy_duration(inputs.mesh.dns_refresh_rate));
    cluster.dns_jitter = Some(envoy_duration(DNS_JITTER));
    cluster.respect_dns_ttl = true;
    cluster.typed_dns_resolver_config =
        Some(TypedExtensionConfig { name: "envoy.network.dns_resolver.cares".to_owned(), typed_config: Some(resolver.to_any()) });
    // A dead resolver would otherwise keep the whole proxy from starting.
    cluster.wait_for_warm_on_init = Some(false.into());
    cluster.load_assignment = ClusterLoadAssignment::from_bytes(&cluster_load_assignment(inputs.name, endpoints)).ok();
    Some(draft)
}

/// Keeps the first endpoint: Envoy refuses a LOGICAL_DNS cluster with more than one.
fn keep_one(draft: &mut ClusterDraft, inputs: &OutboundClusterInputs<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let Some(assignment) = &mut draft.cluster.load_assignment else { return };
    let count = assignment.endpoints.iter().map(|group| group.lb_endpoints.len()).sum::<usize>();
    assignment.endpoints.retain(|group| !group.lb_endpoints.is_empty());
    assignment.endpoints.truncate(1);
    assignment.endpoints.iter_mut().for_each(|group| group.lb_endpoints.truncate(1));
    if count > 1 {
        let message = format!(
            "{} of {count} endpoints of {} are not used: only one name can be resolved this way; use resolution DNS for more",
            count - 1,
            inputs.hostname
        );
        diagnostics.push(Diagnostic::warning("EndpointsNotUsed", None, "spec.endpoints", message));
    }
}

/// Whether the certificate must be for the name that is asked for.
fn checks_names(draft: &mut ClusterDraft) -> bool {
    let options = draft.upstream_http();
    options.auto_sni && options.auto_san_validation
}

/// The cluster type that resolves the name of each request. Envoy refuses TLS without a check of that name unless
/// `insecure` says that this is meant.
pub(super) fn dynamic_forward_proxy(cache: &DnsCache, insecure: bool) -> ClusterDiscoveryType {
    let config = ClusterConfig {
        cluster_implementation_specifier: Some(ClusterImplementationSpecifier::DnsCacheConfig(cache.config())),
        allow_insecure_cluster_options: insecure,
        ..ClusterConfig::default()
    };
    ClusterDiscoveryType::ClusterType(CustomClusterType {
        name: "envoy.clusters.dynamic_forward_proxy".to_owned(),
        typed_config: Some(config.to_any()),
    })
}
