//! The RequestAuthentications of a class, with the keys of their issuers.

use super::authorization::service_named;
use super::{Scope, View};
use base::{Hostname, PortNumber};
use config::{JwksFetch, JwksSource};
use envoy::filter::http::jwt_authn::{JwtIssuer, JwtKeys, jwt_authn};
use envoy::filter::order::HttpFilterPosition;
use envoy::route::is_claim;
use istio_api::security::request_authentication::JwtRule;
use model::{PolicySubject, Snapshot};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The filter that verifies tokens, if any policy applies.
pub fn filter(view: &View<'_>, subject: PolicySubject<'_>) -> Option<(HttpFilterPosition, HttpFilter)> {
    let snapshot = view.snapshot;
    let policies = snapshot.request_authentications.of_workload(subject);
    let rules = model::issuers(&policies);
    let clusters: Vec<_> = rules.iter().map(|rule| behind(view, rule)).collect();
    let issuers: Vec<_> = rules
        .into_iter()
        .zip(&clusters)
        .map(|(rule, cluster)| {
            let fetched = |source| snapshot.jwks.get(&source).map(|keys| &**keys);
            let known = || JwtKeys::Known(JwksSource::of(rule).map_or(Some(rule.jwks.as_str()), fetched));
            JwtIssuer { rule, keys: cluster.as_deref().map_or_else(known, JwtKeys::Behind) }
        })
        .collect();
    jwt_authn(&issuers, routes_by_claim(view)).map(|filter| (HttpFilterPosition::TokenAuthentication, filter))
}

/// The cluster from behind which Envoy fetches the keys of a rule itself, if it shall (Istio's `convertToEnvoyJwtConfig`): for
/// HYBRID where the host of its `jwksUri` is a service, for ENVOY always.
fn behind(view: &View<'_>, rule: &JwtRule) -> Option<String> {
    let fetch = view.snapshot.features.jwks_fetch;
    if fetch == JwksFetch::Istiod {
        return None;
    }
    let (hostname, port) = keys_at(rule)?;
    view.reads.record(&hostname);
    let known = service_named(view.snapshot, hostname.as_str()).is_ok();
    (known || fetch == JwksFetch::Envoy).then(|| format!("outbound|{port}||{hostname}"))
}

/// Whom the proxy may ask for keys, for all that applies to it.
pub fn key_hosts(snapshot: &Snapshot, subject: PolicySubject<'_>) -> Vec<Hostname> {
    if snapshot.features.jwks_fetch == JwksFetch::Istiod {
        return Vec::new();
    }
    let policies = snapshot.request_authentications.of_workload(subject);
    model::issuers(&policies).into_iter().filter_map(keys_at).map(|(hostname, _)| hostname).collect()
}

/// Where the keys of a rule are, if it does not hold them.
fn keys_at(rule: &JwtRule) -> Option<(Hostname, PortNumber)> {
    if rule.jwks_uri.is_empty() || !rule.jwks.is_empty() {
        return None;
    }
    let (scheme, rest) = rule.jwks_uri.split_once("://")?;
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let default_port = if scheme == "https" { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<PortNumber>().ok()?),
        None => (authority, default_port),
    };
    Some((Hostname::new(host), port))
}

/// Whether a rule of the class's gateways looks at claims: these are not known when the route is first chosen.
fn routes_by_claim(view: &View<'_>) -> bool {
    let Scope::Router(gateway) = view.scope else { return false };
    let servers = gateway.ports.values().flatten();
    let mut rules = servers.flat_map(|server| view.snapshot.virtual_services.visible(&view.class.namespace, &server.gateway));
    rules.any(|vs| {
        let requests = vs.spec.http.iter().flat_map(|http| &http.matches);
        requests.flat_map(|request| request.headers.keys().chain(request.without_headers.keys())).any(|key| is_claim(key))
    })
}
