//! Cross-origin resource sharing (Istio's `TranslateCORSPolicy`).

use super::{
    matches::string_matcher,
    percent::{fixed, hundredths},
};
use istio_api::networking::virtual_service::{CorsPolicy as Wanted, UnmatchedPreflights};
use xds_api::envoy::{
    extensions::filters::http::cors::v3::CorsPolicy,
    r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
};

/// The configuration of the CORS filter for one route.
pub(super) fn cors_policy(policy: &Wanted) -> CorsPolicy {
    CorsPolicy {
        allow_origin_string_match: origins(policy),
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy.max_age.map(|age| age.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: policy.allow_credentials.map(Into::into),
        filter_enabled: Some(fixed(hundredths(100))),
        forward_not_matching_preflights: Some((policy.unmatched_preflights != UnmatchedPreflights::Ignore).into()),
        ..Default::default()
    }
}

/// The deprecated list of exact origins counts only without the other.
fn origins(policy: &Wanted) -> Vec<StringMatcher> {
    if !policy.allow_origins.is_empty() {
        return policy.allow_origins.iter().filter_map(string_matcher).collect();
    }
    let exact = |origin: &String| StringMatcher { match_pattern: Some(MatchPattern::Exact(origin.clone())), ..Default::default() };
    policy.allow_origin.iter().map(exact).collect()
}
