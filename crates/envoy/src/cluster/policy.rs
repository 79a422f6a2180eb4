//! The effective policy of one port: mesh defaults, rule, subset and settings of the port, merged as Istio does.

use base::PortNumber;
use istio_api::mesh::mesh_config::DefaultTrafficPolicy;
use istio_api::networking::destination_rule::{
    ClientTlsSettings, ConnectionPoolSettings, LoadBalancerSettings, OutlierDetection, ProxyProtocol, RetryBudget, TrafficPolicy,
    TunnelSettings,
};

/// A `trafficPolicy` after merging, without settings of ports.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ClusterPolicy {
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits and timeouts.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When an endpoint is set aside.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the service.
    pub tls: Option<ClientTlsSettings>,
    /// Tunnels TCP through another host; read by listeners.
    pub tunnel: Option<TunnelSettings>,
    /// PROXY protocol towards the service.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Limits retries in relation to requests.
    pub retry_budget: Option<RetryBudget>,
}

impl From<&DefaultTrafficPolicy> for ClusterPolicy {
    fn from(mesh: &DefaultTrafficPolicy) -> Self {
        Self { connection_pool: mesh.connection_pool.clone(), outlier_detection: mesh.outlier_detection.clone(), ..Self::default() }
    }
}

/// The policy of `port`: `subset` over `rule` over the mesh's defaults, block by block. Settings of the port replace all
/// four of their blocks at once: one that they leave out returns to Istio's default and not to the level below (Istio's
/// `MergeTrafficPolicy`).
pub fn merge_policy(
    mesh: Option<&DefaultTrafficPolicy>,
    rule: Option<&TrafficPolicy>,
    subset: Option<&TrafficPolicy>,
    port: PortNumber,
) -> ClusterPolicy {
    let base = mesh.map(ClusterPolicy::from).unwrap_or_default();
    [rule, subset].into_iter().flatten().fold(base, |merged, policy| lay_over(merged, policy, port))
}

fn lay_over(below: ClusterPolicy, policy: &TrafficPolicy, port: PortNumber) -> ClusterPolicy {
    let mut merged = ClusterPolicy {
        load_balancer: policy.load_balancer.clone().or(below.load_balancer),
        connection_pool: policy.connection_pool.clone().or(below.connection_pool),
        outlier_detection: policy.outlier_detection.clone().or(below.outlier_detection),
        tls: policy.tls.clone().or(below.tls),
        tunnel: policy.tunnel.clone().or(below.tunnel),
        proxy_protocol: policy.proxy_protocol.clone().or(below.proxy_protocol),
        retry_budget: policy.retry_budget.clone().or(below.retry_budget),
    };
    let of_port =
        policy.port_level_settings.iter().find(|settings| settings.port.as_ref().is_some_and(|named| named.number == u32::from(port)));
    if let Some(settings) = of_port {
        merged.load_balancer.clone_from(&settings.load_balancer);
        merged.connection_pool.clone_from(&settings.connection_pool);
        merged.outlier_detection.clone_from(&settings.outlier_detection);
        merged.tls.clone_from(&settings.tls);
    }
    merged
}
