//! Under which names a service is called: the domains of its virtual host.

use base::ClusterId;
use registry::{Provider, Service};

/// All spellings of a service for a client whose own domain is `proxy_domain` (`<namespace>.svc.cluster.local`): the full
/// name with and without the trailing dot, the shorter forms that the client's DNS search path completes, and its
/// virtual addresses. No spelling has a port: ports are ignored in matching (Istio's `generateVirtualHostDomains`).
pub fn of_service(service: &Service, proxy_domain: &str, cluster: &ClusterId) -> Vec<String> {
    let host = service.key.hostname.as_str();
    let mut domains = vec![host.to_string()];
    if !service.key.hostname.is_wildcard() {
        domains.push(format!("{host}."));
    }
    domains.extend(alternatives(host, proxy_domain));
    for address in service.addresses_in(cluster).iter().filter(|address| address.is_host()) {
        domains.push(literal(&address.0.addr()));
    }
    if service.headless && service.provider == Provider::Kubernetes {
        let pods: Vec<String> =
            domains.iter().filter(|name| name.parse::<std::net::IpAddr>().is_err()).map(|name| format!("*.{name}")).collect();
        domains.extend(pods);
    }
    domains
}

/// As it stands in a Host header.
fn literal(address: &std::net::IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// The short forms of a Kubernetes name: `name`, `name.namespace.svc` and `name.namespace` within the namespace, the
/// latter two from elsewhere. Other names have none.
fn alternatives(host: &str, proxy_domain: &str) -> Vec<String> {
    let Some((client_namespace, cluster_domain)) = proxy_domain.split_once('.') else {
        return Vec::new();
    };
    if !cluster_domain.starts_with("svc.") && cluster_domain != "svc" {
        return Vec::new();
    }
    let Some(unique) = host.strip_suffix(cluster_domain).and_then(|rest| rest.strip_suffix('.')) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    if let Some(name) = unique.strip_suffix(client_namespace).and_then(|rest| rest.strip_suffix('.')) {
        out.push(name.to_string());
    }
    out.push(format!("{unique}.svc"));
    out.push(unique.to_string());
    out
}
