//! What filters leave for the filters after them, and Envoy's matches of it.

use crate::text_match;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use xds_api::envoy::r#type::matcher::v3::{
    MetadataMatcher, ValueMatcher, list_matcher, metadata_matcher::path_segment::Segment, value_matcher::MatchPattern,
};

/// The dynamic metadata of a request, by the name of the filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(BTreeMap<String, Map<String, Value>>);

impl Metadata {
    /// Sets a key of a filter.
    pub fn set(&mut self, filter: &str, key: &str, value: Value) {
        self.0.entry(filter.to_owned()).or_default().insert(key.to_owned(), value);
    }

    /// Whether the matcher holds (`MetadataMatcher::match`).
    pub fn matches(&self, matcher: &MetadataMatcher) -> bool {
        let found = self.find(matcher).unwrap_or(&Value::Null);
        matcher.value.as_ref().is_some_and(|wanted| value(wanted, found)) != matcher.invert
    }

    fn find(&self, matcher: &MetadataMatcher) -> Option<&Value> {
        let mut keys = matcher.path.iter().map(|segment| match &segment.segment {
            Some(Segment::Key(key)) => key.as_str(),
            None => "",
        });
        let mut found = self.0.get(&matcher.filter)?.get(keys.next()?)?;
        for key in keys {
            found = found.get(key)?;
        }
        Some(found)
    }
}

/// What is missing is null. Kinds of matches that are never built here do not match.
fn value(matcher: &ValueMatcher, found: &Value) -> bool {
    match &matcher.match_pattern {
        Some(MatchPattern::NullMatch(_)) => found.is_null(),
        Some(MatchPattern::StringMatch(wanted)) => found.as_str().is_some_and(|text| text_match::matches(wanted, text)),
        Some(MatchPattern::BoolMatch(wanted)) => found.as_bool() == Some(*wanted),
        Some(MatchPattern::PresentMatch(wanted)) => found.is_null() != *wanted,
        Some(MatchPattern::ListMatch(list)) => match (&list.match_pattern, found.as_array()) {
            (Some(list_matcher::MatchPattern::OneOf(wanted)), Some(elements)) => elements.iter().any(|element| value(wanted, element)),
            _ => false,
        },
        Some(MatchPattern::OrMatch(any)) => any.value_matchers.iter().any(|wanted| value(wanted, found)),
        Some(MatchPattern::DoubleMatch(_)) | None => false,
    }
}
