//! When an endpoint is set aside (Istio's `applyOutlierDetection`).

use super::draft::{ClusterDraft, positive};
use istio_api::networking::destination_rule::OutlierDetection;
use xds_api::envoy::config::cluster::v3::OutlierDetection as EnvoyOutlierDetection;
use xds_api::envoy::config::common::matcher::v3::{HttpHeadersMatch, MatchPredicate, match_predicate};
use xds_api::envoy::config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};
use xds_api::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use xds_api::envoy::r#type::v3::Percent;

/// Ejects on every count that is reached, never by success rate, which Istio has no setting for.
pub(super) fn apply(draft: &mut ClusterDraft, settings: Option<&OutlierDetection>) {
    let Some(settings) = settings else { return };
    let mut detection = EnvoyOutlierDetection {
        enforcing_success_rate: Some(0.into()),
        interval: positive(settings.interval),
        base_ejection_time: positive(settings.base_ejection_time),
        ..EnvoyOutlierDetection::default()
    };
    if let Some(errors) = settings.consecutive_5xx_errors {
        detection.consecutive_5xx = Some(errors.into());
        detection.enforcing_consecutive_5xx = Some(enforcing(errors).into());
    }
    if let Some(errors) = settings.consecutive_gateway_errors {
        detection.consecutive_gateway_failure = Some(errors.into());
        detection.enforcing_consecutive_gateway_failure = Some(enforcing(errors).into());
    }
    if settings.max_ejection_percent > 0 {
        detection.max_ejection_percent = Some(u32::try_from(settings.max_ejection_percent).unwrap_or(100).min(100).into());
    }
    if settings.split_external_local_origin_errors {
        detection.split_external_local_origin_errors = true;
        if let Some(failures) = settings.consecutive_local_origin_failures.filter(|failures| *failures > 0) {
            detection.consecutive_local_origin_failure = Some(failures.into());
            detection.enforcing_consecutive_local_origin_failure = Some(enforcing(failures).into());
        }
        detection.enforcing_local_origin_success_rate = Some(0.into());
    }
    draft.cluster.outlier_detection = Some(detection);
    draft.cluster.common_lb_config.get_or_insert_default().healthy_panic_threshold =
        Some(Percent { value: f64::from(settings.min_health_percent.clamp(0, 100)) });
    if let Some(matcher) = error_matcher(&settings.outlier_detection_http_error_codes) {
        draft.set_error_matcher(matcher);
    }
}

/// The percentage of enforcement: a count of 0 turns the check off.
fn enforcing(count: u32) -> u32 {
    if count > 0 { 100 } else { 0 }
}

/// Matches responses with one of the codes; `None` for no codes, where 5xx count.
fn error_matcher(codes: &[u32]) -> Option<MatchPredicate> {
    let status = |code: &u32| {
        let value = StringMatcher { match_pattern: Some(MatchPattern::Exact(code.to_string())), ..StringMatcher::default() };
        let header = HeaderMatcher {
            name: ":status".to_owned(),
            header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(value)),
            ..HeaderMatcher::default()
        };
        MatchPredicate { rule: Some(match_predicate::Rule::HttpResponseHeadersMatch(HttpHeadersMatch { headers: vec![header] })) }
    };
    match codes {
        [] => None,
        [code] => Some(status(code)),
        codes => {
            let any = match_predicate::MatchSet { rules: codes.iter().map(status).collect() };
            Some(MatchPredicate { rule: Some(match_predicate::Rule::OrMatch(any)) })
        }
    }
}
