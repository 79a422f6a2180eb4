//! Envoy's matches of text, and its substitutions.

use regex::Regex;
use xds_api::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher, StringMatcher, string_matcher::MatchPattern};

/// Whether the matcher holds for `text`. A matcher that cannot be understood never holds.
pub fn matches(matcher: &StringMatcher, text: &str) -> bool {
    let fold = |text: &str| if matcher.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let text = fold(text);
    match &matcher.match_pattern {
        Some(MatchPattern::Exact(wanted)) => text == fold(wanted),
        Some(MatchPattern::Prefix(wanted)) => text.starts_with(&fold(wanted)),
        Some(MatchPattern::Suffix(wanted)) => text.ends_with(&fold(wanted)),
        Some(MatchPattern::Contains(wanted)) => text.contains(&fold(wanted)),
        Some(MatchPattern::SafeRegex(regex)) => matches_all(regex, &text),
        Some(MatchPattern::Custom(_)) | None => false,
    }
}

/// Whether the expression matches the whole text, as Envoy asks everywhere.
pub fn matches_all(regex: &RegexMatcher, text: &str) -> bool {
    Regex::new(&format!("^(?:{})$", regex.regex)).is_ok_and(|regex| regex.is_match(text))
}

/// Replaces every match; `\1` is the first group, as in RE2.
pub fn substitute(rewrite: &RegexMatchAndSubstitute, text: &str) -> String {
    let Some(regex) = rewrite.pattern.as_ref().and_then(|pattern| Regex::new(&pattern.regex).ok()) else {
        return text.to_owned();
    };
    let mut replacement = String::new();
    let mut characters = rewrite.substitution.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek().and_then(|next| next.to_digit(10))) {
            ('\\', Some(group)) => {
                characters.next();
                replacement.push_str(&format!("${{{group}}}"));
            }
            ('$', _) => replacement.push_str("$$"),
            _ => replacement.push(character),
        }
    }
    regex.replace_all(text, replacement.as_str()).into_owned()
}
