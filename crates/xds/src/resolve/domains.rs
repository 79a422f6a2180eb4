//! Under which names a service is called: the domains of its virtual host.

use super::View;
use base::PortNumber;
use registry::{Provider, Service};

/// All spellings of a service for a client: its name and those of its aliases in full, with and without the trailing dot,
/// the shorter forms that the client's DNS search path completes, the pods of a headless service, and the virtual
/// addresses (Istio's `generateVirtualHostDomains`). Ports are ignored in matching, so that a spelling with the port is
/// needed only where a route configuration serves several (`with_port`).
pub fn of_service(view: &View<'_>, service: &Service, with_port: Option<PortNumber>) -> Vec<String> {
    let hostname = &service.key.hostname;
    let mut domains = Vec::new();
    for host in std::iter::once(hostname).chain(view.snapshot.aliases.of(hostname)) {
        let host = host.as_str().to_lowercase();
        domains.push(host.clone());
        if view.snapshot.features.absolute_names {
            domains.push(format!("{host}."));
        }
        domains.extend(alternatives(&host, &view.class.dns_domain));
    }
    if service.headless && service.provider == Provider::Kubernetes {
        let pods: Vec<String> = domains.iter().map(|name| format!("*.{name}")).collect();
        domains.extend(pods);
    }
    for address in view.addresses(service).iter().filter(|address| address.is_host() && !address.0.addr().is_unspecified()) {
        domains.push(literal(&address.0.addr()));
    }
    match with_port {
        Some(port) => domains.into_iter().flat_map(|domain| both(domain, port)).collect(),
        None => domains,
    }
}

/// A domain, and the same with its port.
pub fn both(domain: String, port: PortNumber) -> [String; 2] {
    let with_port = format!("{domain}:{port}");
    [domain, with_port]
}

/// As it stands in a Host header.
fn literal(address: &std::net::IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// The short forms of a Kubernetes name: `name`, `name.namespace.svc` and `name.namespace` within the namespace, the
/// latter two from elsewhere. Other names have none: they could be taken for those of another service.
fn alternatives(host: &str, proxy_domain: &str) -> Vec<String> {
    let Some((client_namespace, cluster_domain)) = proxy_domain.split_once('.').filter(|(_, domain)| domain.starts_with("svc.")) else {
        return Vec::new();
    };
    let Some(unique) = host.strip_suffix(cluster_domain).and_then(|rest| rest.strip_suffix('.')) else {
        return Vec::new();
    };
    let Some((name, namespace)) = unique.split_once('.') else {
        return Vec::new();
    };
    let mut out = Vec::new();
    if namespace == client_namespace {
        out.push(name.to_string());
    }
    out.push(format!("{unique}.svc"));
    out.push(unique.to_string());
    out
}
