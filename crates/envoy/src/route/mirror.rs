//! Copies of requests whose answers are dropped.

use super::{
    destination::Resolver,
    percent::{fixed, hundredths, millionths},
};
use istio_api::networking::virtual_service::{Destination, HttpRoute, Percent};
use xds_api::envoy::{config::route::v3::route_action::RequestMirrorPolicy, r#type::v3::FractionalPercent};

/// The mirrors of a rule: that of `mirror`, then those of `mirrors`. The copies keep the host of the request, unless it shall
/// be told apart by a suffix.
pub(super) fn mirror_policies(rule: &HttpRoute, resolver: &Resolver<'_>, shadow_host_suffix: bool) -> Vec<RequestMirrorPolicy> {
    let first = rule.mirror.as_ref().and_then(|destination| policy(destination, first_share(rule)?, resolver));
    let further =
        rule.mirrors.iter().filter_map(|mirror| policy(mirror.destination.as_ref()?, share(mirror.percentage.as_ref())?, resolver));
    let suffixed = |policy| RequestMirrorPolicy { disable_shadow_host_suffix_append: !shadow_host_suffix, ..policy };
    first.into_iter().chain(further).map(suffixed).collect()
}

fn policy(destination: &Destination, share: FractionalPercent, resolver: &Resolver<'_>) -> Option<RequestMirrorPolicy> {
    Some(RequestMirrorPolicy {
        cluster: resolver.target(destination).cluster,
        runtime_fraction: Some(fixed(share)),
        trace_sampled: Some(false.into()),
        ..Default::default()
    })
}

/// The share of `mirror`, whose deprecated spelling is whole percents.
fn first_share(rule: &HttpRoute) -> Option<FractionalPercent> {
    match (&rule.mirror_percentage, rule.mirror_percent) {
        (None, Some(0)) => None,
        (None, Some(percent)) => Some(hundredths(percent)),
        (percentage, _) => share(percentage.as_ref()),
    }
}

/// Everything if nothing is said; `None` for an explicit 0.
fn share(percentage: Option<&Percent>) -> Option<FractionalPercent> {
    match percentage {
        None => Some(hundredths(100)),
        Some(percentage) => (percentage.value > 0.0).then(|| millionths(percentage)),
    }
}
