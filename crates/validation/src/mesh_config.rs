//! Settings of the mesh (Istio's `ValidateMeshConfig`).

use crate::{
    amount::{duration, duration_or_zero},
    destination_rule::connection_pool,
    host, load_balancer,
    report::{Field, Report, each},
};
use istio_api::mesh::{MeshConfig, ProxyConfig};

pub(crate) fn validate(report: &mut Report, mesh: &MeshConfig) {
    duration(report, &Field::Root("connectTimeout"), mesh.connect_timeout.filter(|timeout| !timeout.is_zero()));
    duration_or_zero(report, &Field::Root("protocolDetectionTimeout"), mesh.protocol_detection_timeout);
    duration_or_zero(report, &Field::Root("dnsRefreshRate"), mesh.dns_refresh_rate);
    duration_or_zero(report, &Field::Root("hboneIdleTimeout"), mesh.hbone_idle_timeout);
    let ports = [
        ("proxyListenPort", mesh.proxy_listen_port),
        ("proxyInboundListenPort", mesh.proxy_inbound_listen_port),
        ("proxyHttpPort", mesh.proxy_http_port),
    ];
    ports.into_iter().for_each(|(name, number)| port(report, &Field::Root(name), number));
    if mesh.trust_domain.is_empty() {
        report.error(&Field::Root("trustDomain"), "trustDomain must not be empty; leave it out for cluster.local");
    }
    if !mesh.root_namespace.is_empty() && !host::is_label(&mesh.root_namespace) {
        report.error(&Field::Root("rootNamespace"), format!("{:?} is no name of a namespace", mesh.root_namespace));
    }
    if let Some(setting) = &mesh.locality_lb_setting {
        load_balancer::locality_setting(report, &Field::Root("localityLbSetting"), setting, true);
    }
    if let Some(setting) = &mesh.zone_aware_lb_setting {
        load_balancer::zone_aware_setting(report, &Field::Root("zoneAwareLbSetting"), setting);
    }
    if let Some(pool) = mesh.default_traffic_policy.as_ref().and_then(|policy| policy.connection_pool.as_ref()) {
        connection_pool(report, &Field::Root("defaultTrafficPolicy").key("connectionPool"), pool);
    }
    if let Some(retries) = mesh.default_http_retry_policy.as_ref().filter(|retries| retries.attempts < 0) {
        let text = format!("attempts cannot be negative, and is {}; use 0 for none", retries.attempts);
        report.error(&Field::Root("defaultHttpRetryPolicy").key("attempts"), text);
    }
    for (index, settings) in mesh.service_settings.iter().enumerate() {
        let list = Field::Root("serviceSettings");
        each(report, &list.index(index), "hosts", &settings.hosts, |report, at, name| {
            if let Some(error) = host::wildcard_domain_error(name) {
                report.error(at, error);
            }
        });
    }
    proxies(report, &Field::Root("defaultConfig"), &mesh.default_config);
}

/// What holds for all proxies (Istio's `ValidateMeshConfigProxyConfig`).
fn proxies(report: &mut Report, at: &Field<'_>, config: &ProxyConfig) {
    if config.concurrency.is_some_and(|concurrency| concurrency < 0) {
        report.error(&at.key("concurrency"), "concurrency must be greater than or equal to 0");
    }
    duration_or_zero(report, &at.key("drainDuration"), config.drain_duration);
    duration_or_zero(report, &at.key("terminationDrainDuration"), config.termination_drain_duration);
    port(report, &at.key("proxyAdminPort"), config.proxy_admin_port);
    port(report, &at.key("statusPort"), config.status_port);
}

/// 0 stands for the default, or for none.
fn port(report: &mut Report, at: &Field<'_>, number: i32) {
    if !(0..=65535).contains(&number) {
        report.error(at, format!("port number {number} must be in the range 1..65535"));
    }
}
