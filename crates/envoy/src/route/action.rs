//! Where a matched request goes: one cluster or several by weight, with rewrites, time limit, retries and mirrors.

use super::{
    destination::{Resolver, Target},
    headers::HeaderChanges,
    http_route::{HttpRouteInputs, RouteSemantics},
    mirror::mirror_policies,
    retry::retry_policy,
    rewrite::rewrite_path,
};
use crate::filter::http::stateful_session::SessionState;
use istio_api::networking::virtual_service::{HttpRoute, HttpRouteDestination};
use xds_api::{
    envoy::config::route::v3::{
        RouteAction, RouteMatch, WeightedCluster,
        route_action::{ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier},
        weighted_cluster::{ClusterWeight, cluster_weight},
    },
    google::protobuf::Duration,
};

/// What a rule with destinations becomes.
pub(super) struct Forward {
    pub action: RouteAction,
    /// `host:port` of the destination if there is exactly one.
    pub authority: Option<String>,
    /// The header changes of a single destination, which belong to the route: only weighted clusters have a place for them.
    pub headers: HeaderChanges,
    /// How clients stay with an endpoint: that of the first destination with a way.
    pub session: Option<SessionState>,
}

/// Forwards what `rule` matched; `None` if no destination has a weight. `authority` is what the rule's header changes set.
pub(super) fn forward(
    rule: &HttpRoute,
    inputs: &HttpRouteInputs<'_>,
    route_match: Option<&RouteMatch>,
    authority: Option<String>,
) -> Option<Forward> {
    let resolver = inputs.resolver();
    let mut action = RouteAction::default();
    set_timeout(&mut action, rule.timeout.map(|timeout| timeout.0.into()).unwrap_or_default());
    if inputs.semantics == RouteSemantics::GatewayApi {
        // A back end that does not exist is answered with 500 (HTTPRoute's `backendRefs`), not 503.
        action.cluster_not_found_response_code = ClusterNotFoundResponseCode::InternalServerError.into();
    }
    if let Some(rewrite) = &rule.rewrite {
        rewrite_path(&mut action, rewrite, route_match, inputs.semantics);
    }
    let rewritten = rule.rewrite.as_ref().map(|rewrite| rewrite.authority.clone()).filter(|authority| !authority.is_empty());
    action.host_rewrite_specifier = rewritten.or(authority).map(HostRewriteSpecifier::HostRewriteLiteral);
    action.request_mirror_policies = mirror_policies(rule, &resolver, inputs.defaults.shadow_host_suffix);
    action.append_x_forwarded_host = inputs.defaults.forwards_host;

    let retries = rule.retries.as_ref().or(inputs.defaults.retries.as_ref());
    if let [only] = rule.route.as_slice() {
        let Single { target, headers } = single(only, &resolver)?;
        action.retry_policy = retry_policy(retries, target.hash.is_some());
        action.hash_policy = target.hash.into_iter().collect();
        action.cluster_specifier = Some(ClusterSpecifier::Cluster(target.cluster));
        if action.host_rewrite_specifier.is_none() {
            action.host_rewrite_specifier = headers.authority.clone().map(HostRewriteSpecifier::HostRewriteLiteral);
        }
        return Some(Forward { action, authority: target.authority, headers, session: target.session });
    }
    let targets: Vec<_> = rule.route.iter().filter_map(|destination| weighted(destination, &resolver)).collect();
    let session = targets.iter().find_map(|(_, target)| target.session.clone());
    let (clusters, hashes): (Vec<_>, Vec<_>) = targets.into_iter().map(|(cluster, target)| (cluster, target.hash)).unzip();
    if clusters.is_empty() {
        return None;
    }
    action.retry_policy = retry_policy(retries, false);
    action.hash_policy = hashes.into_iter().flatten().collect();
    action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(WeightedCluster { clusters, ..Default::default() }));
    Some(Forward { action, authority: None, headers: HeaderChanges::default(), session })
}

/// Sets the time limit of the request, 0 for none (Envoy's own default would be 15 s), and lets `grpc-timeout` headers
/// shorten it, never exceed it.
pub(super) fn set_timeout(action: &mut RouteAction, timeout: Duration) {
    action.timeout = Some(timeout);
    // Deprecated by Envoy in favour of max_stream_duration, but Istio keeps to it because of the differences.
    #[allow(deprecated)]
    {
        action.max_grpc_timeout = Some(timeout);
    }
}

struct Single {
    target: Target,
    headers: HeaderChanges,
}

/// The weight of a single destination does not matter.
fn single(destination: &HttpRouteDestination, resolver: &Resolver<'_>) -> Option<Single> {
    let target = resolver.target(destination.destination.as_ref()?);
    Some(Single { target, headers: HeaderChanges::new(destination.headers.as_ref()) })
}

/// One of several destinations; `None` if its weight is 0.
fn weighted(destination: &HttpRouteDestination, resolver: &Resolver<'_>) -> Option<(ClusterWeight, Target)> {
    let weight = u32::try_from(destination.weight).ok().filter(|weight| *weight > 0)?;
    let target = resolver.target(destination.destination.as_ref()?);
    let headers = HeaderChanges::new(destination.headers.as_ref());
    let cluster = ClusterWeight {
        name: target.cluster.clone(),
        weight: Some(weight.into()),
        request_headers_to_add: headers.request_headers_to_add,
        request_headers_to_remove: headers.request_headers_to_remove,
        response_headers_to_add: headers.response_headers_to_add,
        response_headers_to_remove: headers.response_headers_to_remove,
        host_rewrite_specifier: headers.authority.map(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
        ..Default::default()
    };
    Some((cluster, target))
}
