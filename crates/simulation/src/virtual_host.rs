//! Which virtual host has a host name (`RouteMatcher::findVirtualHost`): the exact name, the longest `*suffix`, the longest
//! `prefix*`, then `*`.

use xds_api::envoy::config::route::v3::{RouteConfiguration, VirtualHost};

/// The virtual host for the authority of a request.
pub fn choose<'a>(routes: &'a RouteConfiguration, authority: &str) -> Option<&'a VirtualHost> {
    let host = authority.to_ascii_lowercase();
    let host = if routes.ignore_port_in_host_matching { without_port(&host) } else { &host };
    let best = routes.virtual_hosts.iter().flat_map(|virtual_host| {
        let ranks = virtual_host.domains.iter().filter_map(|domain| rank(&domain.to_ascii_lowercase(), host));
        ranks.max().map(|rank| (rank, virtual_host))
    });
    // Of equals the first: Envoy refuses a domain that two virtual hosts have.
    best.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, virtual_host)| virtual_host)
}

/// How well a domain fits, greater is better; `None` if it does not.
fn rank(domain: &str, host: &str) -> Option<(u8, usize)> {
    if domain == host {
        return Some((3, 0));
    }
    if domain == "*" {
        return Some((0, 0));
    }
    if let Some(suffix) = domain.strip_prefix('*') {
        return (host.len() > suffix.len() && host.ends_with(suffix)).then_some((2, suffix.len()));
    }
    let prefix = domain.strip_suffix('*')?;
    (host.len() > prefix.len() && host.starts_with(prefix)).then_some((1, prefix.len()))
}

/// `host` without `:port`; an IPv6 address keeps its colons.
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) => host,
        _ => authority,
    }
}
