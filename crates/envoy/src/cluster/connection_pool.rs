//! Limits and timeouts of connections and requests (Istio's `applyConnectionPool` and `applyH2Upgrade`).

use super::draft::{ClusterDraft, envoy_duration, positive};
use super::inputs::ClusterMeshDefaults;
use base::Protocol;
use istio_api::mesh::mesh_config::H2UpgradePolicy as MeshH2UpgradePolicy;
use istio_api::networking::destination_rule::{
    ConnectionPoolSettings, H2UpgradePolicy, HttpSettings, RetryBudget, TcpKeepalive, TcpSettings,
};
use xds_api::envoy::config::cluster::v3::{
    CircuitBreakers, UpstreamConnectionOptions,
    circuit_breakers::{Thresholds, thresholds},
};
use xds_api::envoy::config::core::v3::{KeepaliveSettings, TcpKeepalive as EnvoyTcpKeepalive};
use xds_api::envoy::r#type::v3::Percent;

/// Istio's default budget: Envoy's own values.
const RETRY_BUDGET_PERCENT: f64 = 20.0;
const RETRY_BUDGET_CONCURRENCY: u32 = 3;

/// No limit: Envoy's own defaults (1024 and 3 retries) would surprise.
pub(super) fn unlimited() -> Thresholds {
    Thresholds {
        max_connections: Some(u32::MAX.into()),
        max_pending_requests: Some(u32::MAX.into()),
        max_requests: Some(u32::MAX.into()),
        max_retries: Some(u32::MAX.into()),
        ..Thresholds::default()
    }
}

/// Circuit breakers with one set of thresholds.
pub(super) fn circuit_breakers(thresholds: Thresholds) -> CircuitBreakers {
    CircuitBreakers { thresholds: vec![thresholds], ..CircuitBreakers::default() }
}

/// Applies a connection pool, or the defaults without one.
pub(super) fn apply(
    draft: &mut ClusterDraft,
    mesh: &ClusterMeshDefaults,
    pool: Option<&ConnectionPoolSettings>,
    budget: Option<&RetryBudget>,
) {
    let tcp = pool.and_then(|pool| pool.tcp.as_ref());
    let http = pool.and_then(|pool| pool.http.as_ref());
    draft.cluster.circuit_breakers = Some(circuit_breakers(thresholds(tcp, http, budget)));
    if let Some(timeout) = positive(tcp.and_then(|tcp| tcp.connect_timeout)) {
        draft.cluster.connect_timeout = Some(timeout);
    }
    apply_keepalive(draft, mesh.tcp_keepalive.as_ref());
    apply_keepalive(draft, tcp.and_then(|tcp| tcp.tcp_keepalive.as_ref()));
    // The timeout of TCP also holds for HTTP that sets none; 0 is meant: it turns the timeout off.
    if let Some(timeout) = http.and_then(|http| http.idle_timeout).or(tcp.and_then(|tcp| tcp.idle_timeout)) {
        draft.common_http().idle_timeout = Some(envoy_duration(timeout));
    }
    if let Some(duration) = tcp.and_then(|tcp| tcp.max_connection_duration) {
        draft.common_http().max_connection_duration = Some(envoy_duration(duration));
    }
    if let Some(requests) = http.and_then(|http| limit(http.max_requests_per_connection)) {
        draft.common_http().max_requests_per_connection = Some(requests.into());
    }
}

/// A limit of the API, where 0 means none.
fn limit(value: i32) -> Option<u32> {
    u32::try_from(value).ok().filter(|value| *value > 0)
}

fn thresholds(tcp: Option<&TcpSettings>, http: Option<&HttpSettings>, budget: Option<&RetryBudget>) -> Thresholds {
    let mut thresholds = unlimited();
    if let Some(connections) = tcp.and_then(|tcp| limit(tcp.max_connections)) {
        thresholds.max_connections = Some(connections.into());
    }
    if let Some(http) = http {
        let set = |target: &mut Option<_>, value| {
            if let Some(value) = limit(value) {
                *target = Some(value.into());
            }
        };
        set(&mut thresholds.max_pending_requests, http.http1_max_pending_requests);
        set(&mut thresholds.max_requests, http.http2_max_requests);
        set(&mut thresholds.max_retries, http.max_retries);
    }
    thresholds.retry_budget = budget.map(|budget| {
        let concurrency = if budget.min_retry_concurrency == 0 { RETRY_BUDGET_CONCURRENCY } else { budget.min_retry_concurrency };
        thresholds::RetryBudget {
            budget_percent: Some(Percent { value: budget.percent.unwrap_or(RETRY_BUDGET_PERCENT) }),
            min_retry_concurrency: Some(concurrency.into()),
            budget_interval: budget.budget_interval.map(envoy_duration),
        }
    });
    thresholds
}

/// Lays keep-alive over what is there, attribute by attribute; without any attribute the system's values hold.
fn apply_keepalive(draft: &mut ClusterDraft, keepalive: Option<&TcpKeepalive>) {
    let Some(keepalive) = keepalive else { return };
    let options = draft.cluster.upstream_connection_options.get_or_insert_with(UpstreamConnectionOptions::default);
    let target = options.tcp_keepalive.get_or_insert_with(EnvoyTcpKeepalive::default);
    let seconds = |duration: istio_api::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    if keepalive.probes > 0 {
        target.keepalive_probes = Some(keepalive.probes.into());
    }
    if let Some(time) = keepalive.time {
        target.keepalive_time = Some(seconds(time).into());
    }
    if let Some(interval) = keepalive.interval {
        target.keepalive_interval = Some(seconds(interval).into());
    }
}

/// Chooses the version of HTTP by policy: the client's if asked for, else HTTP/2 if upgraded by the rule (on any port) or
/// by the mesh (on ports that are known to speak HTTP). Then the options of HTTP/2 apply.
pub(super) fn apply_http_version(draft: &mut ClusterDraft, mesh: &ClusterMeshDefaults, http: Option<&HttpSettings>, protocol: Protocol) {
    let asked = http.map(|http| http.h2_upgrade_policy).unwrap_or_default();
    if http.is_some_and(|http| http.use_client_protocol) {
        draft.use_client_protocol();
    } else if asked == H2UpgradePolicy::Upgrade
        || (asked == H2UpgradePolicy::Default && mesh.h2_upgrade_policy == MeshH2UpgradePolicy::Upgrade && protocol.is_http())
    {
        draft.use_http2();
    }
    let (Some(http), Some(http2)) = (http, draft.http2()) else { return };
    if let Some(streams) = limit(http.max_concurrent_streams) {
        http2.max_concurrent_streams = Some(streams.into());
    }
    if let Some(pings) = &http.http2_keep_alive {
        let (interval, timeout) = (positive(pings.interval), positive(pings.timeout));
        // Envoy requires a timeout with an interval.
        http2.connection_keepalive =
            timeout.or(interval).map(|timeout| KeepaliveSettings { interval, timeout: Some(timeout), ..KeepaliveSettings::default() });
    }
}
