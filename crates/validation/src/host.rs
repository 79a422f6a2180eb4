//! Host names, labels of names, and addresses (Istio's `pkg/config/validation/agent` and `pkg/config/labels`).

use crate::report::{Field, Report};
use std::net::IpAddr;

/// A DNS label as Istio takes it: letters of either case, digits and inner dashes, 63 at most.
pub(crate) fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A label that may begin with `*` or `*-`, or be `*`.
fn is_wildcard_label(text: &str) -> bool {
    match text.strip_prefix('*') {
        Some("") => true,
        Some(rest) => is_label(rest.strip_prefix('-').unwrap_or(rest)),
        None => is_label(text),
    }
}

pub(crate) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// What is wrong with a domain name in full (Istio's `ValidateFQDN`).
pub(crate) fn fqdn_error(domain: &str) -> Option<String> {
    precondition_error(domain).or_else(|| labels_error(domain, domain))
}

/// What is wrong with a domain name whose first label may have a wildcard (Istio's `ValidateWildcardDomain`).
pub(crate) fn wildcard_domain_error(domain: &str) -> Option<String> {
    if let Some(error) = precondition_error(domain) {
        return Some(error);
    }
    let (first, rest) = domain.split_once('.').map_or((domain, None), |(first, rest)| (first, Some(rest)));
    if !is_wildcard_label(first) {
        return Some(invalid_label(domain, first));
    }
    rest.and_then(|rest| labels_error(domain, rest))
}

fn precondition_error(domain: &str) -> Option<String> {
    if domain.len() > 255 {
        return Some(format!("domain name {domain:?} too long (max 255)"));
    }
    domain.is_empty().then(|| "empty domain name not allowed; write the host".into())
}

fn invalid_label(domain: &str, label: &str) -> String {
    format!("domain name {domain:?} invalid (label {label:?} invalid)")
}

fn labels_error(domain: &str, part: &str) -> Option<String> {
    let labels: Vec<&str> = part.split('.').collect();
    if let Some(last) = labels.last()
        && !last.is_empty()
        && last.bytes().all(|b| b.is_ascii_digit())
    {
        return Some(format!("domain name {domain:?} invalid (top level domain {last:?} cannot be all-numeric)"));
    }
    let count = labels.len();
    // A dot at the end makes a name unambiguous.
    let wrong = |(index, label): &(usize, &&str)| !(is_label(label) || label.is_empty() && *index + 1 == count && count > 1);
    labels.iter().enumerate().find(wrong).map(|(_, label)| invalid_label(domain, label))
}

/// Whether the text is the server name of a cluster between networks, `outbound_.80_.subset_.host`.
pub(crate) fn is_cluster_sni(text: &str) -> bool {
    match text.splitn(4, '.').collect::<Vec<_>>().as_slice() {
        ["outbound_", port, subset, host] => port.ends_with('_') && subset.ends_with('_') && fqdn_error(host).is_none(),
        _ => false,
    }
}

/// Whether a wildcard stands anywhere but as the whole first label.
pub(crate) fn is_partial_wildcard(host: &str) -> bool {
    host.contains('*') && host != "*" && !host.starts_with("*.")
}

/// Checks an IP address or a range (Istio's `ValidateIPSubnet`).
pub(crate) fn subnet(report: &mut Report, at: &Field<'_>, text: &str) {
    if text.contains('/') {
        if text.parse::<ipnet::IpNet>().is_err() {
            report.error(at, format!("{text} is not a valid CIDR block; write an address and a prefix length, 10.0.0.0/8"));
        }
    } else {
        ip(report, at, text);
    }
}

pub(crate) fn ip(report: &mut Report, at: &Field<'_>, text: &str) {
    if !is_ip(text) {
        report.error(at, format!("{text} is not a valid IP"));
    }
}

/// Checks the path behind `unix://` (Istio's `ValidateUnixAddress`).
pub(crate) fn unix_path(report: &mut Report, at: &Field<'_>, path: &str) {
    if path.is_empty() {
        report.error(at, "unix address must not be empty");
    } else if !path.starts_with('@') && !path.starts_with('/') {
        report.error(at, format!("{path} is not an absolute path to a file"));
    }
}

/// Checks a port number from 1 to 65535.
pub(crate) fn port(report: &mut Report, at: &Field<'_>, number: u32) {
    if !(1..=65535).contains(&number) {
        report.error(at, format!("port number {number} must be in the range 1..65535"));
    }
}

/// Checks the name of a port, which is a label.
pub(crate) fn port_name(report: &mut Report, at: &Field<'_>, name: &str) {
    if !is_label(name) {
        report.error(at, format!("invalid port name: {name}; use letters, digits and '-', 63 characters at most"));
    }
}

/// The namespace part of `namespace/dnsName`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostOwner {
    Gateway,
    /// A Gateway that was made from one of the Gateway API, where `~` stands for no namespace at all.
    GatewayApi,
    Sidecar,
}

/// Checks `namespace/dnsName` (Istio's `validateNamespaceSlashWildcardHostname`).
pub(crate) fn namespaced_host(report: &mut Report, at: &Field<'_>, host: &str, owner: HostOwner) {
    let Some((namespace, name)) = host.split_once('/') else {
        match owner {
            HostOwner::Gateway | HostOwner::GatewayApi => host_part(report, at, host, owner),
            HostOwner::Sidecar => report.error(at, "host must be of form namespace/dnsName, e.g. ./* or */*"),
        }
        return;
    };
    if namespace.is_empty() || name.is_empty() {
        report.error(at, "config namespace and dnsName in host entry cannot be empty");
        return;
    }
    let (allowed, label, kind) = match owner {
        HostOwner::Gateway => (["*", "."].contains(&namespace), namespace, "gateway"),
        HostOwner::GatewayApi => (["*", ".", "~"].contains(&namespace), namespace, "gateway"),
        HostOwner::Sidecar => (["*", ".", "~"].contains(&namespace), namespace.strip_prefix('~').unwrap_or(namespace), "sidecar"),
    };
    if !allowed && !is_label(label) {
        report.error(at, format!("invalid namespace value {namespace:?} in {kind}"));
    }
    host_part(report, at, name, owner);
}

fn host_part(report: &mut Report, at: &Field<'_>, host: &str, owner: HostOwner) {
    if host != "*" && !host.contains('.') && !is_ip(host) {
        report.error(at, "short names (non FQDN) are not allowed; write the name in full, e.g. name.namespace.svc.cluster.local");
    }
    if let Some(error) = wildcard_domain_error(host)
        && !(owner != HostOwner::Sidecar && is_ip(host))
    {
        report.error(at, error);
    }
    if is_partial_wildcard(host) {
        report.error(at, format!("partial wildcard {host:?} not allowed; a wildcard must be the whole first label, *.example.com"));
    }
}
