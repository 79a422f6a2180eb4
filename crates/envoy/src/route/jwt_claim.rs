//! Header matches whose key names a claim of the request's JWT (`@request.auth.claims…`), instead of a header.

use super::matches::string_matcher;
use crate::filter::http::jwt_authn::{NAME as JWT_FILTER, PAYLOAD};
use istio_api::networking::virtual_service::StringMatch;
use xds_api::envoy::r#type::matcher::v3::{
    ListMatcher, MetadataMatcher, OrMatcher, ValueMatcher, list_matcher,
    metadata_matcher::{PathSegment, path_segment},
    value_matcher::MatchPattern,
};

const KEY_PREFIX: &str = "@request.auth.claims";

/// The matcher for a header key that names a claim; `None` for a header. The claim may be a text or a list of texts; no
/// text to match asks for its presence.
pub(super) fn claim_matcher(key: &str, wanted: &StringMatch, invert: bool) -> Option<MetadataMatcher> {
    let segments = std::iter::once(PAYLOAD).chain(claim_path(key)?);
    let path = segments.map(|key| PathSegment { segment: Some(path_segment::Segment::Key(key.to_string())) }).collect();
    let pattern = match string_matcher(wanted) {
        None => MatchPattern::PresentMatch(true),
        Some(text) => {
            let text = ValueMatcher { match_pattern: Some(MatchPattern::StringMatch(text)) };
            let one_of = list_matcher::MatchPattern::OneOf(Box::new(text.clone()));
            let list = MatchPattern::ListMatch(Box::new(ListMatcher { match_pattern: Some(one_of) }));
            MatchPattern::OrMatch(OrMatcher { value_matchers: vec![ValueMatcher { match_pattern: Some(list) }, text] })
        }
    };
    Some(MetadataMatcher { filter: JWT_FILTER.to_string(), path, value: Some(ValueMatcher { match_pattern: Some(pattern) }), invert })
}

/// Whether the key of a header match names a claim.
pub fn is_claim(key: &str) -> bool {
    claim_path(key).is_some()
}

/// The nested names in `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`; `None` for any other form.
fn claim_path(key: &str) -> Option<Vec<&str>> {
    let (prefix, rest) = key.split_at_checked(KEY_PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(KEY_PREFIX) {
        return None;
    }
    let names: Vec<_> = match rest.strip_prefix('.') {
        Some(dotted) => dotted.split('.').collect(),
        None => rest.strip_prefix('[')?.strip_suffix(']')?.split("][").collect(),
    };
    names.iter().all(|name| !name.is_empty()).then_some(names)
}
