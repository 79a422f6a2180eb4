//! ServiceEntry (Istio's `ValidateServiceEntry`).

use crate::{
    host::{self, fqdn_error, is_partial_wildcard, port, port_name, subnet, wildcard_domain_error},
    report::{Field, Report, each},
    selector::{self, Exported, selector_labels},
    workload_entry,
};
use base::Protocol;
use istio_api::{
    Metadata,
    networking::{
        service_entry::{Location, Resolution, ServiceEntry, ServicePort},
        workload_entry::WorkloadEntry,
    },
};
use std::collections::BTreeSet;

pub(crate) fn validate(report: &mut Report, metadata: &Metadata, entry: &ServiceEntry) {
    let at = Field::Root("spec");
    hosts(report, &at, entry);
    addresses(report, &at, entry);
    ports(report, &at, &entry.ports);
    let names: BTreeSet<&str> = entry.ports.iter().map(|port| port.name.as_str()).collect();
    match entry.resolution {
        Resolution::None if !entry.endpoints.is_empty() => {
            report.error(&at.key("endpoints"), "no endpoints should be provided for resolution type none");
        }
        Resolution::None => {}
        Resolution::Static => static_endpoints(report, &at, entry, &names),
        Resolution::Dns | Resolution::DnsRoundRobin => dns_endpoints(report, &at, entry, &names),
        Resolution::DynamicDns => dynamic(report, &at, metadata, entry),
    }
    workloads(report, &at, entry);
    if differs_only_by_address(metadata, entry) {
        report.warning(
            &at.key("addresses"),
            "addresses are required for ports serving TCP (or unset) protocol when IP Autoallocation is not enabled",
        );
    }
    selector::export_to(report, &at, metadata.namespace.as_str(), &entry.export_to, Exported::ServiceEntry);
}

fn hosts(report: &mut Report, at: &Field<'_>, entry: &ServiceEntry) {
    if entry.hosts.is_empty() {
        report.error(&at.key("hosts"), "service entry must have at least one host");
    }
    each(report, at, "hosts", &entry.hosts, |report, at, host| {
        if host == "*" {
            report.error(at, "invalid host *; name a domain, *.example.com");
        } else if let Some(error) = wildcard_domain_error(host) {
            report.error(at, error);
        } else if is_partial_wildcard(host) {
            report.warning(at, format!("partial wildcard {host:?} not allowed; a wildcard must be the whole first label, *.example.com"));
        }
    });
}

fn addresses(report: &mut Report, at: &Field<'_>, entry: &ServiceEntry) {
    let ranges = !matches!(entry.resolution, Resolution::None | Resolution::Static);
    each(report, at, "addresses", &entry.addresses, |report, at, address| {
        subnet(report, at, address);
        if ranges && address.contains('/') {
            report.error(at, "CIDR addresses are allowed only for NONE/STATIC resolution types");
        }
    });
}

fn ports(report: &mut Report, at: &Field<'_>, ports: &[ServicePort]) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    each(report, at, "ports", ports, |report, at, service| {
        if !names.insert(service.name.clone()) {
            report.error(&at.key("name"), format!("service entry port name {:?} already defined", service.name));
        }
        if !numbers.insert(service.number) {
            report.error(&at.key("number"), format!("service entry port {} already defined", service.number));
        }
        port_name(report, &at.key("name"), &service.name);
        protocol(report, &at.key("protocol"), &service.protocol);
        port(report, &at.key("number"), service.number);
        if service.target_port != 0 {
            port(report, &at.key("targetPort"), service.target_port);
        }
    });
}

/// Checks the name of a protocol; an empty one means that Envoy sniffs.
pub(crate) fn protocol(report: &mut Report, at: &Field<'_>, name: &str) {
    if !name.is_empty() && Protocol::parse(name).is_unsupported() {
        report.error(
            at,
            format!("unsupported protocol: {name}; write one of HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP, MONGO, REDIS, MYSQL"),
        );
    }
}

/// An endpoint maps only ports that the service has.
fn endpoint_ports(report: &mut Report, at: &Field<'_>, endpoint: &WorkloadEntry, names: &BTreeSet<&str>) {
    for (name, number) in endpoint.ports.iter().filter(|(name, _)| !names.contains(name.as_str())) {
        report.error(&at.key("ports").key(name), format!("endpoint port {number} is not defined by the service entry"));
    }
}

fn static_endpoints(report: &mut Report, at: &Field<'_>, entry: &ServiceEntry, names: &BTreeSet<&str>) {
    each(report, at, "endpoints", &entry.endpoints, |report, at, endpoint| {
        workload_entry::shared(report, at, endpoint);
        if let Some(path) = endpoint.address.strip_prefix("unix://") {
            workload_entry::unix_endpoint(report, at, endpoint, path);
            return;
        }
        if endpoint.address.is_empty() {
            workload_entry::empty_address(report, at, endpoint);
        } else {
            host::ip(report, &at.key("address"), &endpoint.address);
        }
        endpoint_ports(report, at, endpoint, names);
    });
    if entry.endpoints.iter().any(|endpoint| endpoint.address.starts_with("unix://")) && entry.ports.len() != 1 {
        report.error(&at.key("ports"), "exactly 1 service port required for unix endpoints");
    }
}

fn dns_endpoints(report: &mut Report, at: &Field<'_>, entry: &ServiceEntry, names: &BTreeSet<&str>) {
    if entry.endpoints.is_empty() && entry.workload_selector.is_none() {
        each(report, at, "hosts", &entry.hosts, |report, at, host| {
            if let Some(error) = fqdn_error(host) {
                let mode = entry.resolution.as_str();
                report.error(
                    at,
                    format!("hosts must be FQDN or contain only prefix wildcards if no endpoints are provided for resolution mode {mode}, {error}"),
                );
            }
        });
    }
    if entry.resolution == Resolution::DnsRoundRobin && entry.endpoints.len() > 1 {
        report.error(&at.key("endpoints"), "there must only be 0 or 1 endpoint for resolution mode DNS_ROUND_ROBIN");
    }
    each(report, at, "endpoints", &entry.endpoints, |report, at, endpoint| {
        workload_entry::shared(report, at, endpoint);
        if endpoint.address.is_empty() {
            workload_entry::empty_address(report, at, endpoint);
        } else {
            workload_entry::ip_or_name(report, &at.key("address"), &endpoint.address);
        }
        endpoint_ports(report, at, endpoint, names);
    });
}

/// Envoy resolves the name that each request asks for, so a wildcard is needed and endpoints make no sense.
fn dynamic(report: &mut Report, at: &Field<'_>, metadata: &Metadata, entry: &ServiceEntry) {
    if entry.hosts.is_empty() {
        report.error(&at.key("hosts"), "at least one wildcard host must be provided for resolution type DYNAMIC_DNS");
    }
    each(report, at, "hosts", &entry.hosts, |report, at, host| {
        if !host.starts_with('*') {
            report.error(at, "host must be wildcarded for resolution mode DYNAMIC_DNS");
        }
    });
    if !entry.endpoints.is_empty() {
        report.error(&at.key("endpoints"), "no endpoints should be provided for resolution type DYNAMIC_DNS");
    }
    let waypoint = metadata.labels.get("istio.io/use-waypoint").is_some_and(|name| name != "none");
    if waypoint && entry.location == Location::MeshInternal {
        report.error(&at.key("location"), "location MESH_INTERNAL with resolution type DYNAMIC_DNS is not supported when using waypoints");
    }
    each(report, at, "ports", &entry.ports, |report, at, service| {
        let protocol = Protocol::parse(&service.protocol);
        let usable = protocol.is_http() || protocol.is_tls();
        if !usable {
            report.error(&at.key("protocol"), "resolution mode DYNAMIC_DNS needs a protocol that names the host: HTTP, HTTP2, GRPC or TLS");
        }
    });
}

fn workloads(report: &mut Report, at: &Field<'_>, entry: &ServiceEntry) {
    let Some(workloads) = &entry.workload_selector else { return };
    let at = at.key("workloadSelector");
    if !entry.endpoints.is_empty() {
        report.error(&at, "only one of WorkloadSelector or Endpoints is allowed in Service Entry");
    }
    if workloads.labels.is_empty() {
        report.warning(&at, "service entry: workload selector specified without labels, will be applied to all services in namespace");
    }
    if entry.resolution == Resolution::None {
        report.warning(&at, "workloadSelector should not be set when resolution mode is NONE");
    }
    selector_labels(report, &at.key("labels"), &workloads.labels);
}

/// Whether connections can be told from those of other services by their address alone, which is missing.
fn differs_only_by_address(metadata: &Metadata, entry: &ServiceEntry) -> bool {
    let opaque = |service: &ServicePort| {
        let protocol = Protocol::parse(&service.protocol);
        protocol.is_unsupported() || protocol.is_tcp() && !protocol.is_tls()
    };
    let allocated = metadata.labels.get("networking.istio.io/enable-autoallocate-ip").is_some_and(|value| value == "true");
    entry.addresses.is_empty() && !allocated && entry.ports.iter().any(opaque)
}
