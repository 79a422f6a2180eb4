//! Which route of a virtual host is taken: the first that matches.

use crate::{call::Call, header_match, metadata::Metadata, text_match};
use xds_api::envoy::config::route::v3::{Route, RouteMatch, route_match::PathSpecifier};

/// The first route that matches. Fractions of runtime are taken as met.
pub fn choose<'a>(routes: &'a [Route], call: &Call, metadata: &Metadata) -> Option<&'a Route> {
    routes.iter().find(|route| route.r#match.as_ref().is_some_and(|wanted| matches(wanted, call, metadata)))
}

fn matches(wanted: &RouteMatch, call: &Call, metadata: &Metadata) -> bool {
    path(wanted, call)
        && wanted.headers.iter().all(|matcher| header_match::header(matcher, call))
        && wanted.query_parameters.iter().all(|matcher| header_match::query_parameter(matcher, call))
        && wanted.grpc.is_none_or(|_| call.header("content-type").is_some_and(|kind| kind.starts_with("application/grpc")))
        && wanted.dynamic_metadata.iter().all(|matcher| metadata.matches(matcher))
}

fn path(wanted: &RouteMatch, call: &Call) -> bool {
    let sensitive = wanted.case_sensitive.is_none_or(|value| value.value);
    let fold = |text: &str| if sensitive { text.to_owned() } else { text.to_ascii_lowercase() };
    let path = call.path_only();
    match &wanted.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => fold(path).starts_with(&fold(prefix)),
        Some(PathSpecifier::Path(exact)) => fold(path) == fold(exact),
        Some(PathSpecifier::SafeRegex(regex)) => text_match::matches_all(regex, path),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            fold(path).strip_prefix(&fold(prefix)).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        Some(PathSpecifier::ConnectMatcher(_)) => call.method == "CONNECT",
        Some(PathSpecifier::PathMatchPolicy(_)) | None => false,
    }
}

/// The part of the path that a rewrite of the prefix replaces: the prefix, or all of it for the other kinds of matches.
pub fn matched_length(wanted: &RouteMatch, path: &str) -> usize {
    match &wanted.path_specifier {
        Some(PathSpecifier::Prefix(prefix) | PathSpecifier::PathSeparatedPrefix(prefix)) => prefix.len(),
        _ => path.len(),
    }
}
