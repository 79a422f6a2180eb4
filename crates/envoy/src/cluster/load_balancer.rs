//! How an endpoint is chosen (Istio's `applyLoadBalancer`).

use super::draft::{ClusterDraft, envoy_duration};
use super::inputs::OutboundClusterInputs;
use crate::endpoint::{LocalityPolicy, LocalitySettings, TrafficDistribution, locality_policy};
use istio_api::networking::destination_rule::{
    ConsistentHashLb, HashAlgorithm, LbPolicy as UserPolicy, LoadBalancerSettings, SimpleLb, WarmupConfiguration,
    ZoneAwareLoadBalancerSetting,
};
use xds_api::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig, RoundRobinLbConfig,
    SlowStartConfig,
    common_lb_config::{LocalityConfigSpecifier, LocalityWeightedLbConfig, ZoneAwareLbConfig},
};
use xds_api::envoy::config::core::v3::{HealthStatus, HealthStatusSet, RuntimeDouble};
use xds_api::envoy::r#type::v3::Percent;

/// Istio's default ring, which is also Envoy's.
const MINIMUM_RING_SIZE: u64 = 1024;
/// Istio's default share at the beginning of a slow start.
const WARMUP_MINIMUM_PERCENT: f64 = 10.0;

/// Applies the load balancer; outlier detection must be applied before.
pub(super) fn apply(draft: &mut ClusterDraft, inputs: &OutboundClusterInputs<'_>) {
    let settings = inputs.policy.load_balancer.as_ref();
    let common = draft.cluster.common_lb_config.get_or_insert_default();
    // Panic would send traffic to endpoints that are known to be down; with few endpoints that is worse than an error.
    common.healthy_panic_threshold.get_or_insert_default();
    if inputs.persistent_session {
        let statuses = [HealthStatus::Healthy, HealthStatus::Draining, HealthStatus::Unknown, HealthStatus::Degraded];
        common.override_host_status = Some(HealthStatusSet { statuses: statuses.map(Into::into).to_vec() });
    }
    common.locality_config_specifier = localities(inputs);
    if draft.is(DiscoveryType::OriginalDst) {
        draft.cluster.lb_policy = LbPolicy::ClusterProvided.into();
    } else {
        apply_algorithm(draft, settings, inputs.spreads_keys);
    }
}

/// Whether Envoy looks at the weights of localities: if the mesh's operator says so, for shares of traffic, and for explicit
/// failover rules with outlier detection. The failover that is on by default works by priorities alone. Or it looks at zones,
/// which it would by itself as soon as it knows those of its own workload: where nobody asks for that, it is turned off.
fn localities(inputs: &OutboundClusterInputs<'_>) -> Option<LocalityConfigSpecifier> {
    let (mesh, rule) = (inputs.mesh.localities(), LocalitySettings::of(inputs.policy.load_balancer.as_ref()));
    let weighted = match locality_policy(mesh, rule, TrafficDistribution::Any) {
        Some(LocalityPolicy::ZoneAware(setting)) => return Some(zone_aware(&setting)),
        Some(LocalityPolicy::Distance(policy)) => {
            let explicit = !policy.setting.failover.is_empty() || !policy.setting.failover_priority.is_empty();
            let shares = !policy.setting.distribute.is_empty();
            inputs.weights_localities || shares || (inputs.policy.outlier_detection.is_some() && explicit)
        }
        None => false,
    };
    let turned_off = rule.zone_aware.or(mesh.zone_aware).is_some_and(|setting| setting.enabled == Some(false));
    if weighted {
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig::default()))
    } else if turned_off || inputs.proxy.discovers_itself {
        let off = ZoneAwareLbConfig { routing_enabled: Some(Percent { value: 0.0 }), ..ZoneAwareLbConfig::default() };
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(off))
    } else {
        None
    }
}

fn zone_aware(setting: &ZoneAwareLoadBalancerSetting) -> LocalityConfigSpecifier {
    let min_cluster_size = setting.min_cluster_size.map(|size| u64::from(size).into());
    LocalityConfigSpecifier::ZoneAwareLbConfig(ZoneAwareLbConfig { min_cluster_size, ..ZoneAwareLbConfig::default() })
}

fn apply_algorithm(draft: &mut ClusterDraft, settings: Option<&LoadBalancerSettings>, spreads_keys: bool) {
    let simple = match settings.and_then(LoadBalancerSettings::lb_policy) {
        None | Some(UserPolicy::Simple(SimpleLb::Unspecified)) if spreads_keys => {
            draft.cluster.lb_policy = LbPolicy::Maglev.into();
            return;
        }
        Some(UserPolicy::ConsistentHash(hash)) => return apply_hash(draft, hash),
        Some(UserPolicy::Simple(simple)) => *simple,
        Some(UserPolicy::BackendUtilization(_)) | None => SimpleLb::Unspecified,
    };
    let slow_start = settings.and_then(slow_start);
    let cluster = &mut draft.cluster;
    match simple {
        SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest => {
            cluster.lb_policy = LbPolicy::LeastRequest.into();
            cluster.lb_config = slow_start.map(|slow_start| {
                LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                    slow_start_config: Some(slow_start),
                    ..LeastRequestLbConfig::default()
                })
            });
        }
        SimpleLb::RoundRobin => {
            cluster.lb_policy = LbPolicy::RoundRobin.into();
            cluster.lb_config =
                slow_start.map(|slow_start| LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config: Some(slow_start) }));
        }
        SimpleLb::Random => cluster.lb_policy = LbPolicy::Random.into(),
        SimpleLb::Passthrough => {
            cluster.lb_policy = LbPolicy::ClusterProvided.into();
            cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into()));
            cluster.load_assignment = None;
            cluster.eds_cluster_config = None;
        }
    }
}

fn apply_hash(draft: &mut ClusterDraft, hash: &ConsistentHashLb) {
    let ring_size = match hash.hash_algorithm() {
        Some(HashAlgorithm::MagLev(maglev)) => {
            draft.cluster.lb_policy = LbPolicy::Maglev.into();
            draft.cluster.lb_config =
                (maglev.table_size > 0).then(|| LbConfig::MaglevLbConfig(MaglevLbConfig { table_size: Some(maglev.table_size.into()) }));
            return;
        }
        Some(HashAlgorithm::RingHash(ring)) => ring.minimum_ring_size,
        None => hash.minimum_ring_size,
    };
    let ring_size = if ring_size == 0 { MINIMUM_RING_SIZE } else { ring_size.min(base::LARGEST_HASH_RING) };
    draft.cluster.lb_policy = LbPolicy::RingHash.into();
    draft.cluster.lb_config =
        Some(LbConfig::RingHashLbConfig(RingHashLbConfig { minimum_ring_size: Some(ring_size.into()), ..RingHashLbConfig::default() }));
}

/// `warmup`, or the deprecated field that has only its duration.
fn slow_start(settings: &LoadBalancerSettings) -> Option<SlowStartConfig> {
    let deprecated =
        || settings.warmup_duration_secs.map(|duration| WarmupConfiguration { duration: Some(duration), ..WarmupConfiguration::default() });
    let warmup = settings.warmup.clone().or_else(deprecated)?;
    // Envoy requires a runtime key; nobody sets this one. Linear growth is its default.
    let aggression = |value| RuntimeDouble { default_value: value, runtime_key: "upstream.slow_start.aggression".to_owned() };
    Some(SlowStartConfig {
        slow_start_window: warmup.duration.map(envoy_duration),
        aggression: warmup.aggression.map(aggression),
        min_weight_percent: Some(Percent { value: warmup.minimum_percent.unwrap_or(WARMUP_MINIMUM_PERCENT) }),
    })
}
