//! DestinationRule (Istio's `ValidateDestinationRule`).

use crate::{
    amount::{duration, duration_or_zero, whole_percent},
    host::{fqdn_error, is_ip, is_label, port, wildcard_domain_error},
    load_balancer,
    report::{Field, Report, each},
    selector::{self, Exported},
};
use istio_api::networking::destination_rule::{
    ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, DestinationRule, H2UpgradePolicy, HttpSettings, OutlierDetection,
    PortTrafficPolicy, TcpSettings, TrafficPolicy, TunnelSettings,
};
use std::collections::BTreeSet;

pub(crate) fn validate(report: &mut Report, namespace: &str, rule: &DestinationRule) {
    let at = Field::Root("spec");
    if let Some(error) = wildcard_domain_error(&rule.host) {
        report.error(&at.key("host"), error);
    }
    if let Some(policy) = &rule.traffic_policy {
        traffic_policy(report, &at.key("trafficPolicy"), policy);
    }
    let mut names = BTreeSet::new();
    each(report, &at, "subsets", &rule.subsets, |report, at, subset| {
        if subset.name.is_empty() {
            report.error(&at.key("name"), "subset name cannot be empty");
        } else if !is_label(&subset.name) {
            report.error(&at.key("name"), format!("subset name is invalid: {}", subset.name));
        } else if !names.insert(subset.name.clone()) {
            report.error(&at.key("name"), format!("duplicate subset names: {}", subset.name));
        }
        selector::labels(report, &at.key("labels"), &subset.labels);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(report, &at.key("trafficPolicy"), policy);
        }
    });
    selector::workload_selector(report, &at.key("workloadSelector"), rule.workload_selector.as_ref());
    let exported = if rule.workload_selector.is_some() { Exported::DestinationRuleWithSelector } else { Exported::Other };
    selector::export_to(report, &at, namespace, &rule.export_to, exported);
}

fn traffic_policy(report: &mut Report, at: &Field<'_>, policy: &TrafficPolicy) {
    if *policy == TrafficPolicy::default() {
        report.error(at, "traffic policy must have at least one field");
    }
    if let Some(detection) = &policy.outlier_detection {
        outlier_detection(report, &at.key("outlierDetection"), detection);
    }
    if let Some(pool) = &policy.connection_pool {
        connection_pool(report, &at.key("connectionPool"), pool);
    }
    if let Some(settings) = &policy.load_balancer {
        load_balancer::validate(report, &at.key("loadBalancer"), settings, policy.outlier_detection.is_some());
    }
    if let Some(settings) = &policy.tls {
        tls(report, &at.key("tls"), settings);
    }
    each(report, at, "portLevelSettings", &policy.port_level_settings, port_policy);
    if let Some(settings) = &policy.tunnel {
        tunnel(report, &at.key("tunnel"), settings);
    }
    if let Some(budget) = &policy.retry_budget
        && let Some(percent) = budget.percent
        && !(0.0..=100.0).contains(&percent)
    {
        report.error(&at.key("retryBudget").key("percent"), format!("retry budget percent {percent} is not in range 0..100"));
    }
}

fn port_policy(report: &mut Report, at: &Field<'_>, policy: &PortTrafficPolicy) {
    match &policy.port {
        Some(selector) if selector.number != 0 => port(report, &at.key("port").key("number"), selector.number),
        _ => report.error(&at.key("port"), "portTrafficPolicy must have valid port"),
    }
    let PortTrafficPolicy { port: _, load_balancer, connection_pool: pool, outlier_detection: detection, tls: client } = policy;
    if load_balancer.is_none() && pool.is_none() && detection.is_none() && client.is_none() {
        report.error(at, "port traffic policy must have at least one field");
    }
    if let Some(detection) = detection {
        outlier_detection(report, &at.key("outlierDetection"), detection);
    }
    if let Some(pool) = pool {
        connection_pool(report, &at.key("connectionPool"), pool);
    }
    if let Some(settings) = load_balancer {
        load_balancer::validate(report, &at.key("loadBalancer"), settings, detection.is_some());
    }
    if let Some(settings) = client {
        tls(report, &at.key("tls"), settings);
    }
}

fn outlier_detection(report: &mut Report, at: &Field<'_>, detection: &OutlierDetection) {
    duration(report, &at.key("interval"), detection.interval);
    duration(report, &at.key("baseEjectionTime"), detection.base_ejection_time);
    if detection.consecutive_errors != 0 {
        report.warning(
            &at.key("consecutiveErrors"),
            "outlier detection consecutive errors is deprecated, use consecutiveGatewayErrors or consecutive5xxErrors instead",
        );
    }
    if !detection.split_external_local_origin_errors && detection.consecutive_local_origin_failures.is_some_and(|count| count > 0) {
        report.error(
            at,
            "outlier detection consecutive local origin failures is specified, but split external local origin errors is set to false",
        );
    }
    whole_percent(report, &at.key("maxEjectionPercent"), detection.max_ejection_percent);
    whole_percent(report, &at.key("minHealthPercent"), detection.min_health_percent);
}

/// Checks limits and timeouts, also those of a Sidecar.
pub(crate) fn connection_pool(report: &mut Report, at: &Field<'_>, pool: &ConnectionPoolSettings) {
    if pool.http.is_none() && pool.tcp.is_none() {
        report.error(at, "connection pool must have at least one field");
    }
    if let Some(http) = &pool.http {
        http_pool(report, &at.key("http"), http);
    }
    if let Some(tcp) = &pool.tcp {
        tcp_pool(report, &at.key("tcp"), tcp);
    }
}

fn http_pool(report: &mut Report, at: &Field<'_>, http: &HttpSettings) {
    let limits = [
        ("http1MaxPendingRequests", http.http1_max_pending_requests, "http1 max pending requests"),
        ("http2MaxRequests", http.http2_max_requests, "http2 max requests"),
        ("maxRequestsPerConnection", http.max_requests_per_connection, "max requests per connection"),
        ("maxRetries", http.max_retries, "max retries"),
        ("maxConcurrentStreams", http.max_concurrent_streams, "max concurrent streams"),
    ];
    for (field, limit, name) in limits {
        if limit < 0 {
            report.error(&at.key(field), format!("{name} must be non-negative"));
        }
    }
    duration_or_zero(report, &at.key("idleTimeout"), http.idle_timeout);
    if http.h2_upgrade_policy == H2UpgradePolicy::Upgrade && http.use_client_protocol {
        report.error(&at.key("useClientProtocol"), "use client protocol must not be true when H2UpgradePolicy is UPGRADE");
    }
    if let Some(pings) = &http.http2_keep_alive {
        let at = at.key("http2KeepAlive");
        for (field, value) in [("interval", pings.interval), ("timeout", pings.timeout)] {
            if value.is_none() {
                report.error(&at.key(field), format!("http2 keepalive {field} is required"));
            }
            duration(report, &at.key(field), value);
        }
    }
}

fn tcp_pool(report: &mut Report, at: &Field<'_>, tcp: &TcpSettings) {
    if tcp.max_connections < 0 {
        report.error(&at.key("maxConnections"), "max connections must be non-negative");
    }
    duration(report, &at.key("connectTimeout"), tcp.connect_timeout);
    duration(report, &at.key("maxConnectionDuration"), tcp.max_connection_duration);
    duration_or_zero(report, &at.key("idleTimeout"), tcp.idle_timeout);
    if let Some(keepalive) = &tcp.tcp_keepalive {
        duration(report, &at.key("tcpKeepalive").key("time"), keepalive.time);
        duration(report, &at.key("tcpKeepalive").key("interval"), keepalive.interval);
    }
}

fn tls(report: &mut Report, at: &Field<'_>, tls: &ClientTlsSettings) {
    let (simple, mutual) = (tls.mode == ClientTlsMode::Simple, tls.mode == ClientTlsMode::Mutual);
    if tls.insecure_skip_verify == Some(true) {
        let verifies = !tls.ca_certificates.is_empty() || !tls.subject_alt_names.is_empty();
        if simple && (verifies || !tls.credential_name.is_empty()) {
            report.error(at, "cannot specify CaCertificates or CredentialName or SubjectAltNames when InsecureSkipVerify is set true");
        }
        if mutual && verifies {
            report.error(at, "cannot specify CaCertificates or SubjectAltNames when InsecureSkipVerify is set true");
        }
    }
    let files = [&tls.client_certificate, &tls.private_key, &tls.ca_certificates, &tls.ca_crl];
    if (simple || mutual) && !tls.credential_name.is_empty() {
        if files.iter().any(|file| !file.is_empty()) {
            report.error(at, "cannot specify client certificates or CA certificate or CA CRL If credentialName is set");
        }
    } else if mutual {
        if tls.client_certificate.is_empty() {
            report.error(&at.key("clientCertificate"), "client certificate required for mutual tls");
        }
        if tls.private_key.is_empty() {
            report.error(&at.key("privateKey"), "private key required for mutual tls");
        }
    }
}

fn tunnel(report: &mut Report, at: &Field<'_>, tunnel: &TunnelSettings) {
    if !matches!(tunnel.protocol.as_str(), "" | "CONNECT" | "POST") {
        report.error(&at.key("protocol"), "tunnel protocol must be \"CONNECT\" or \"POST\"");
    }
    if !is_ip(&tunnel.target_host) && fqdn_error(&tunnel.target_host).is_some() {
        report.error(&at.key("targetHost"), format!("tunnel target host must be valid FQDN or IP address: {:?}", tunnel.target_host));
    }
    port(report, &at.key("targetPort"), tunnel.target_port);
}
