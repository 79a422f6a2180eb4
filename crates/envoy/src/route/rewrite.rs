//! Changes of the path before forwarding.

use super::{http_route::RouteSemantics, matches::regex_matcher};
use istio_api::networking::virtual_service::HttpRewrite;
use xds_api::envoy::{
    config::route::v3::{RouteAction, RouteMatch, route_match::PathSpecifier},
    r#type::matcher::v3::RegexMatchAndSubstitute,
};

/// Sets the path rewrite of `action`: the expression if there is one, else the prefix.
pub(super) fn rewrite_path(action: &mut RouteAction, rewrite: &HttpRewrite, route_match: Option<&RouteMatch>, semantics: RouteSemantics) {
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        action.regex_rewrite = Some(substitution(&regex.matches, &regex.rewrite));
    } else if rewrite.uri == "/" && semantics == RouteSemantics::GatewayApi {
        action.regex_rewrite = Some(prefix_removal(route_match));
    } else {
        action.prefix_rewrite = rewrite.uri.clone();
    }
}

/// The Gateway API's replacement of a prefix by `/`. A plain prefix rewrite would make `//b` of `/a/b`.
fn prefix_removal(route_match: Option<&RouteMatch>) -> RegexMatchAndSubstitute {
    let prefix = match route_match.and_then(|route_match| route_match.path_specifier.as_ref()) {
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => prefix,
        _ => "",
    };
    substitution(&format!("^{}(/?)(.*)", quote(prefix)), r"/\2")
}

fn substitution(regex: &str, substitution: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute { pattern: Some(regex_matcher(regex)), substitution: substitution.to_string() }
}

/// The expression that matches exactly `text` (Go's `regexp.QuoteMeta`).
fn quote(text: &str) -> String {
    let escaped = |letter: char| r"\.+*?()|[]{}^$".contains(letter).then_some('\\');
    text.chars().flat_map(|letter| escaped(letter).into_iter().chain([letter])).collect()
}
