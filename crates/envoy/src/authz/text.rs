//! The texts of policies as Envoy's matchers: `abc`, `abc*`, `*abc` and `*` (Istio's `authz/matcher`).

use xds_api::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};

/// A value of a policy. `*` is any text but the empty one.
pub fn pattern(value: &str) -> StringMatcher {
    match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(""), _) => regex(".+"),
        (Some(end), _) => suffix(end),
        (None, Some(start)) => prefix(start),
        (None, None) => exact(value),
    }
}

pub fn exact(text: &str) -> StringMatcher {
    matcher(MatchPattern::Exact(text.to_owned()))
}

/// `text` must not be empty: Envoy refuses that.
pub fn prefix(text: &str) -> StringMatcher {
    matcher(MatchPattern::Prefix(text.to_owned()))
}

/// `text` must not be empty: Envoy refuses that.
pub fn suffix(text: &str) -> StringMatcher {
    matcher(MatchPattern::Suffix(text.to_owned()))
}

/// The whole text must match.
pub fn regex(expression: impl Into<String>) -> StringMatcher {
    matcher(MatchPattern::SafeRegex(RegexMatcher { regex: expression.into(), ..RegexMatcher::default() }))
}

fn matcher(pattern: MatchPattern) -> StringMatcher {
    StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() }
}

/// `text` as an expression that matches it alone: RE2's and Go's special characters get a backslash.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// The same, but `*` is any text, the empty one too.
pub fn quote_with_wildcards(text: &str) -> String {
    text.split('*').map(quote).collect::<Vec<_>>().join(".*")
}
