//! The matches of a VirtualService's routes and the names of its gateways.

use crate::{
    amount::regex,
    header,
    host::{fqdn_error, is_cluster_sni, is_ip, is_label, port, subnet, wildcard_domain_error},
    report::{Field, Report, each},
    selector::labels,
};
use base::Hostname;
use istio_api::networking::virtual_service::{HttpMatchRequest, L4MatchAttributes, StringMatch, StringMatcher, TlsMatchAttributes};

/// Checks the list `gateways` below `at`.
pub(crate) fn gateway_names(report: &mut Report, at: &Field<'_>, gateways: &[String]) {
    each(report, at, "gateways", gateways, |report, at, gateway| {
        let Some((namespace, name)) = gateway.split_once('/') else {
            if let [name, namespace, ..] = gateway.split('.').collect::<Vec<_>>().as_slice() {
                report.warning(
                    at,
                    format!(
                        "using legacy gatewayName format {gateway:?}; prefer the <namespace>/<name> format: {:?}",
                        format!("{namespace}/{name}")
                    ),
                );
            }
            if let Some(error) = fqdn_error(gateway) {
                report.error(at, error);
            }
            return;
        };
        if namespace.is_empty() || name.is_empty() {
            report.error(at, "config namespace and gateway name cannot be empty; write namespace/name");
            return;
        }
        if !is_label(namespace) {
            report.error(at, format!("invalid value for namespace: {namespace:?}"));
        }
        if !is_label(name) {
            report.error(at, format!("invalid value for gateway name: {name:?}"));
        }
    });
}

/// Checks one condition on HTTP requests.
pub(crate) fn http(report: &mut Report, at: &Field<'_>, matches: &HttpMatchRequest) {
    for (field, headers) in [("headers", &matches.headers), ("withoutHeaders", &matches.without_headers)] {
        let at = at.key(field);
        for (name, matcher) in headers {
            header::match_name(report, &at.key(name), name);
            text(report, &at.key(name), field, matcher);
        }
    }
    for (name, matcher) in &matches.query_params {
        text(report, &at.key("queryParams").key(name), "queryParams", matcher);
    }
    let texts = [("uri", &matches.uri), ("scheme", &matches.scheme), ("method", &matches.method), ("authority", &matches.authority)];
    for (field, matcher) in texts {
        if let Some(matcher) = matcher {
            text(report, &at.key(field), field, matcher);
        }
    }
    client(report, at, matches.port, &matches.source_labels, &matches.gateways, &matches.source_namespace);
}

fn text(report: &mut Report, at: &Field<'_>, place: &str, matcher: &StringMatch) {
    match matcher.matcher() {
        // Every path has the empty prefix.
        Some(StringMatcher::Prefix("")) if place != "uri" => {
            report.error(at, format!("{place:?}: prefix string match should not be empty"))
        }
        Some(StringMatcher::Regex("")) => report.error(at, format!("{place:?}: regex string match should not be empty")),
        // No expression, but Istio takes it to match everything.
        Some(StringMatcher::Regex("*")) => {}
        Some(StringMatcher::Regex(expression)) => regex(report, at, place, expression),
        _ => {}
    }
}

/// What all matches may ask of the client.
fn client(
    report: &mut Report,
    at: &Field<'_>,
    number: u32,
    source_labels: &std::collections::BTreeMap<String, String>,
    gateways: &[String],
    namespace: &str,
) {
    if number != 0 {
        port(report, &at.key("port"), number);
    }
    labels(report, &at.key("sourceLabels"), source_labels);
    gateway_names(report, at, gateways);
    if !namespace.is_empty() && !is_label(namespace) {
        report.error(&at.key("sourceNamespace"), format!("sourceNamespace match {namespace} is invalid"));
    }
}

/// Checks one condition on TLS connections; server names must lie within the hosts of the VirtualService.
pub(crate) fn tls(report: &mut Report, at: &Field<'_>, matches: &TlsMatchAttributes, hosts: &[String]) {
    if matches.sni_hosts.is_empty() {
        report.error(at, "TLS match must have at least one SNI host");
    }
    each(report, at, "sniHosts", &matches.sni_hosts, |report, at, host| {
        if is_ip(host) {
            report.warning(at, format!("using an IP address ({host:?}) goes against SNI spec and most clients do not support this"));
        } else if let Some(error) = wildcard_domain_error(host).filter(|_| !is_cluster_sni(host)) {
            report.error(at, error);
        } else if !hosts.iter().any(|known| Hostname::new(host).subset_of(&Hostname::new(known))) {
            report.error(
                at,
                format!("SNI host {host:?} is not a compatible subset of any of the virtual service hosts: [{}]", hosts.join(", ")),
            );
        }
    });
    each(report, at, "destinationSubnets", &matches.destination_subnets, |report, at, range| subnet(report, at, range));
    client(report, at, matches.port, &matches.source_labels, &matches.gateways, &matches.source_namespace);
}

/// Checks one condition on TCP connections.
pub(crate) fn tcp(report: &mut Report, at: &Field<'_>, matches: &L4MatchAttributes) {
    each(report, at, "destinationSubnets", &matches.destination_subnets, |report, at, range| subnet(report, at, range));
    if !matches.source_subnet.is_empty() {
        subnet(report, &at.key("sourceSubnet"), &matches.source_subnet);
    }
    client(report, at, matches.port, &matches.source_labels, &matches.gateways, &matches.source_namespace);
}
