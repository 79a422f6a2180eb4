//! The RequestAuthentications of a class, with the keys of their issuers.

use super::{Scope, View};
use config::JwksSource;
use envoy::filter::http::jwt_authn::{JwtIssuer, jwt_authn};
use envoy::filter::order::HttpFilterPosition;
use envoy::route::is_claim;
use model::PolicySubject;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The filter that verifies tokens, if any policy applies.
pub fn filter(view: &View<'_>, subject: PolicySubject<'_>) -> Option<(HttpFilterPosition, HttpFilter)> {
    let snapshot = view.snapshot;
    let policies = snapshot.request_authentications.of_workload(subject);
    let rules = model::issuers(&policies);
    let issuers: Vec<_> = rules
        .into_iter()
        .map(|rule| {
            let fetched = |source| snapshot.jwks.get(&source).map(|keys| &**keys);
            let keys = JwksSource::of(rule).map_or(Some(rule.jwks.as_str()), fetched);
            JwtIssuer { rule, keys }
        })
        .collect();
    jwt_authn(&issuers, routes_by_claim(view)).map(|filter| (HttpFilterPosition::TokenAuthentication, filter))
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
