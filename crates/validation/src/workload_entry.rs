//! WorkloadEntry, WorkloadGroup and the parts that endpoints of a ServiceEntry share with them.

use crate::{
    host::{fqdn_error, is_ip, port, unix_path},
    report::{Field, Report},
    selector::labels,
};
use istio_api::networking::{
    workload_entry::WorkloadEntry,
    workload_group::{HealthCheckMethod, ReadinessProbe, WorkloadGroup},
};

pub(crate) fn validate(report: &mut Report, entry: &WorkloadEntry) {
    let at = Field::Root("spec");
    if entry.address.is_empty() {
        empty_address(report, &at, entry);
    } else if let Some(path) = entry.address.strip_prefix("unix://") {
        unix_endpoint(report, &at, entry, path);
    } else {
        ip_or_name(report, &at.key("address"), &entry.address);
    }
    shared(report, &at, entry);
}

/// An endpoint without address is reached through the gateway of its network.
pub(crate) fn empty_address(report: &mut Report, at: &Field<'_>, entry: &WorkloadEntry) {
    if entry.network.is_empty() {
        report.error(&at.key("address"), "address is required");
    } else {
        report.warning(&at.key("address"), format!("address is unset with network {:?}", entry.network));
    }
}

pub(crate) fn unix_endpoint(report: &mut Report, at: &Field<'_>, entry: &WorkloadEntry, path: &str) {
    unix_path(report, &at.key("address"), path);
    if !entry.ports.is_empty() {
        report.error(&at.key("ports"), format!("unix endpoint {} must not include ports", entry.address));
    }
}

pub(crate) fn ip_or_name(report: &mut Report, at: &Field<'_>, address: &str) {
    if !is_ip(address) && fqdn_error(address).is_some() {
        report.error(at, format!("endpoint address {address:?} is not a valid FQDN or an IP address"));
    }
}

/// Labels and port numbers.
pub(crate) fn shared(report: &mut Report, at: &Field<'_>, entry: &WorkloadEntry) {
    labels(report, &at.key("labels"), &entry.labels);
    let ports = at.key("ports");
    for (name, number) in &entry.ports {
        port(report, &ports.key(name), *number);
    }
}

pub(crate) fn validate_group(report: &mut Report, group: &WorkloadGroup) {
    let at = Field::Root("spec");
    let Some(template) = &group.template else {
        report.error(&at.key("template"), "template is required");
        return;
    };
    shared(report, &at.key("template"), template);
    if let Some(metadata) = &group.metadata {
        labels(report, &at.key("metadata").key("labels"), &metadata.labels);
    }
    if let Some(readiness) = &group.probe {
        probe(report, &at.key("probe"), readiness);
    }
}

fn probe(report: &mut Report, at: &Field<'_>, probe: &ReadinessProbe) {
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (name, number) in numbers {
        if number < 0 {
            report.error(&at.key(name), format!("{name} must be non-negative"));
        }
    }
    match probe.method() {
        Some(HealthCheckMethod::HttpGet(get)) => {
            let at = at.key("httpGet");
            port(report, &at.key("port"), get.port);
            if !matches!(get.scheme.as_str(), "" | "http" | "https" | "HTTP" | "HTTPS") {
                report.error(&at.key("scheme"), "httpGet.scheme must be one of http, https");
            }
            for (index, header) in get.http_headers.iter().enumerate() {
                if header.name.is_empty() {
                    report.error(&at.key("httpHeaders").index(index), "header name cannot be empty");
                }
            }
        }
        Some(HealthCheckMethod::TcpSocket(socket)) => port(report, &at.key("tcpSocket").key("port"), socket.port),
        Some(HealthCheckMethod::Exec(exec)) if exec.command.is_empty() => {
            report.error(&at.key("exec").key("command"), "exec.command is required");
        }
        Some(HealthCheckMethod::Grpc(grpc)) => port(report, &at.key("grpc").key("port"), grpc.port),
        Some(HealthCheckMethod::Exec(_)) => {}
        None => report.error(at, "health check method is not set; write one of httpGet, tcpSocket, exec or grpc"),
    }
}
