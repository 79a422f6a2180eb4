//! Which requests a route is for (Istio's `TranslateRouteMatch`), and whether a match can be met at all on a listener.

use super::{
    http_route::{HttpRouteInputs, RouteSemantics},
    jwt_claim,
};
use istio_api::networking::virtual_service::{HttpMatchRequest, StringMatch, StringMatcher as Wanted};
use xds_api::envoy::{
    config::route::v3::{
        HeaderMatcher, QueryParameterMatcher, RouteMatch, header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier, route_match::PathSpecifier,
    },
    r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
};

/// The predicates that are decided when the configuration is built: listener port, gateway, labels and namespace of the
/// client. A match that names gateways does not look at the client (Istio's `sourceMatchHTTP`).
pub(super) fn can_match(request: &HttpMatchRequest, inputs: &HttpRouteInputs<'_>) -> bool {
    if request.port != 0 && request.port != u32::from(inputs.listener_port) {
        return false;
    }
    if !request.gateways.is_empty() {
        return request.gateways.iter().any(|name| inputs.gateways.contains(&gateway_name(name, inputs.namespace)));
    }
    let namespace = &request.source_namespace;
    inputs.client.labels.contain(&request.source_labels) && (namespace.is_empty() || namespace == inputs.client.namespace)
}

/// `mesh` or `namespace/name`; a name alone is a gateway of the VirtualService's namespace.
fn gateway_name(name: &str, namespace: &str) -> String {
    match name {
        "mesh" => name.to_string(),
        _ if name.contains('/') => name.to_string(),
        _ => format!("{namespace}/{name}"),
    }
}

/// Envoy's form of a match; without one, of every request.
pub(super) fn route_match(request: Option<&HttpMatchRequest>, semantics: RouteSemantics) -> RouteMatch {
    let Some(request) = request else {
        return RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_string())), ..Default::default() };
    };
    let mut out = RouteMatch { case_sensitive: Some((!request.ignore_uri_case).into()), ..Default::default() };
    out.path_specifier = Some(path(request.uri.as_ref(), semantics));
    for (key, wanted, invert) in named_headers(request) {
        match jwt_claim::claim_matcher(key, wanted, invert) {
            Some(claim) => out.dynamic_metadata.push(claim),
            None => out.headers.push(header(key, wanted, invert)),
        }
    }
    // Stable, so that a wanted header comes before an unwanted one of the same name.
    out.headers.sort_by(|a, b| a.name.cmp(&b.name));
    let pseudo_headers = [(":method", &request.method), (":authority", &request.authority), (":scheme", &request.scheme)];
    out.headers.extend(pseudo_headers.into_iter().filter_map(|(name, wanted)| Some(header(name, wanted.as_ref()?, false))));
    out.query_parameters = request.query_params.iter().map(|(name, wanted)| query_parameter(name, wanted)).collect();
    out
}

/// Headers that must match, then those that must not (`true`).
fn named_headers(request: &HttpMatchRequest) -> impl Iterator<Item = (&str, &StringMatch, bool)> {
    let wanted = request.headers.iter().map(|(key, wanted)| (key.as_str(), wanted, false));
    wanted.chain(request.without_headers.iter().map(|(key, unwanted)| (key.as_str(), unwanted, true)))
}

/// Ingress and the Gateway API mean path elements by a prefix (`/a` is no prefix of `/ab`), a VirtualService means text.
fn path(uri: Option<&StringMatch>, semantics: RouteSemantics) -> PathSpecifier {
    match uri.and_then(StringMatch::matcher) {
        None => PathSpecifier::Prefix("/".to_string()),
        Some(Wanted::Exact(path)) => PathSpecifier::Path(path.to_string()),
        Some(Wanted::Prefix(prefix)) if semantics != RouteSemantics::VirtualService && prefix != "/" => {
            PathSpecifier::PathSeparatedPrefix(prefix.strip_suffix('/').unwrap_or(prefix).to_string())
        }
        Some(Wanted::Prefix(prefix)) => PathSpecifier::Prefix(prefix.to_string()),
        Some(Wanted::Regex(regex)) => PathSpecifier::SafeRegex(regex_matcher(regex)),
    }
}

fn header(name: &str, wanted: &StringMatch, invert_match: bool) -> HeaderMatcher {
    let text = string_matcher(wanted);
    HeaderMatcher {
        name: name.to_string(),
        invert_match,
        // "Not equal to x" also holds without the header. Envoy refuses the combination with a match of presence.
        treat_missing_header_as_empty: invert_match && text.is_some(),
        header_match_specifier: Some(text.map_or(HeaderMatchSpecifier::PresentMatch(true), HeaderMatchSpecifier::StringMatch)),
    }
}

fn query_parameter(name: &str, wanted: &StringMatch) -> QueryParameterMatcher {
    let text = string_matcher(wanted);
    let specifier = text.map_or(QueryParameterMatchSpecifier::PresentMatch(true), QueryParameterMatchSpecifier::StringMatch);
    QueryParameterMatcher { name: name.to_string(), query_parameter_match_specifier: Some(specifier) }
}

/// Envoy's form of a text match; `None` where only presence is asked: nothing is set, the regex is `*` (no RE2, but Istio
/// takes it so), or every text has the prefix (Envoy refuses an empty one).
pub(super) fn string_matcher(wanted: &StringMatch) -> Option<StringMatcher> {
    let pattern = match wanted.matcher()? {
        Wanted::Regex("*") | Wanted::Prefix("") => return None,
        Wanted::Exact(text) => MatchPattern::Exact(text.to_string()),
        Wanted::Prefix(text) => MatchPattern::Prefix(text.to_string()),
        Wanted::Regex(regex) => MatchPattern::SafeRegex(regex_matcher(regex)),
    };
    Some(StringMatcher { match_pattern: Some(pattern), ..Default::default() })
}

/// RE2, which is Envoy's only engine and its default.
pub(super) fn regex_matcher(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_string(), ..Default::default() }
}
