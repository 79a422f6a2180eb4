//! Envoy's matches of headers and of query parameters.

use crate::{call::Call, text_match};
use xds_api::envoy::config::route::v3::{
    HeaderMatcher, QueryParameterMatcher, header_matcher::HeaderMatchSpecifier, query_parameter_matcher::QueryParameterMatchSpecifier,
};

/// Whether the call has such a header (`HeaderUtility::matchHeaders`). A missing header matches nothing, even inverted,
/// unless it counts as empty.
pub fn header(matcher: &HeaderMatcher, call: &Call) -> bool {
    let value = call.header(&matcher.name);
    let specifier = matcher.header_match_specifier.as_ref();
    if let None | Some(HeaderMatchSpecifier::PresentMatch(_)) = specifier {
        let wanted = !matches!(specifier, Some(HeaderMatchSpecifier::PresentMatch(false)));
        return (value.is_some() == wanted) != matcher.invert_match;
    }
    let value = match value {
        Some(value) => value,
        None if matcher.treat_missing_header_as_empty => "",
        None => return false,
    };
    matches(specifier, value) != matcher.invert_match
}

/// The deprecated forms (exact, prefix, …) are never built here, so they are not simulated: they do not match.
fn matches(specifier: Option<&HeaderMatchSpecifier>, value: &str) -> bool {
    match specifier {
        Some(HeaderMatchSpecifier::RangeMatch(range)) => value.parse().is_ok_and(|value: i64| (range.start..range.end).contains(&value)),
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => text_match::matches(matcher, value),
        _ => false,
    }
}

/// Whether the query has such a parameter; of several with one name the first counts.
pub fn query_parameter(matcher: &QueryParameterMatcher, call: &Call) -> bool {
    let query = call.query().trim_start_matches('?');
    let mut parameters = query.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")));
    let value = parameters.find(|(name, _)| *name == matcher.name).map(|(_, value)| value);
    match (&matcher.query_parameter_match_specifier, value) {
        (Some(QueryParameterMatchSpecifier::StringMatch(wanted)), Some(value)) => text_match::matches(wanted, value),
        (Some(QueryParameterMatchSpecifier::PresentMatch(wanted)), value) => value.is_some() == *wanted,
        (None, value) => value.is_some(),
        (Some(QueryParameterMatchSpecifier::StringMatch(_)), None) => false,
    }
}
