//! Routes that no user wrote: to a service without VirtualService, and from the sidecar to its own application.

use super::{action::set_timeout, hash::hash_policy, names, retry};
use crate::filter::http::stateful_session::{self, SessionState};
use base::PortNumber;
use istio_api::networking::{destination_rule::ConsistentHashLb, virtual_service::HttpRetry};
use xds_api::{
    envoy::config::route::v3::{
        Decorator, Route, RouteAction, RouteMatch,
        route::Action,
        route_action::{ClusterSpecifier, MaxStreamDuration},
        route_match::PathSpecifier,
    },
    google::protobuf::Duration,
};

/// What the route to a service without VirtualService depends on.
#[derive(Clone, Copy)]
pub struct DefaultRouteInputs<'a> {
    /// The service.
    pub hostname: &'a str,
    /// Its port.
    pub port: PortNumber,
    /// The mesh's retry policy, if it has one.
    pub retries: Option<&'a HttpRetry>,
    /// How the service's DestinationRule chooses endpoints by hash, if it does.
    pub hash: Option<&'a ConsistentHashLb>,
    /// How the service keeps clients with an endpoint, if it does.
    pub session: Option<&'a SessionState>,
}

/// Every request to the service's cluster (Istio's `BuildDefaultHTTPOutboundRoute`).
pub fn default_route(inputs: &DefaultRouteInputs<'_>) -> Route {
    let hash = inputs.hash.and_then(hash_policy);
    let cluster = names::outbound_cluster(inputs.port, "", inputs.hostname);
    let mut action = RouteAction { cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)), ..Default::default() };
    // With a hash Istio still avoids the hosts that were tried, unlike in routes of VirtualServices.
    action.retry_policy = retry::retry_policy(inputs.retries, false);
    action.hash_policy = hash.into_iter().collect();
    set_timeout(&mut action, Duration::default());
    let mut route = every_request(names::DEFAULT_ROUTE, Action::Route(action), Some(format!("{}:{}/*", inputs.hostname, inputs.port)));
    let session = inputs.session.map(|session| (stateful_session::NAME.to_string(), stateful_session::of_route(session)));
    route.typed_per_filter_config.extend(session);
    route
}

/// What the route from a sidecar to its application depends on.
#[derive(Clone, Copy)]
pub struct InboundRouteInputs<'a> {
    /// `inbound|<target port>||`, or the pass-through cluster.
    pub cluster: &'a str,
    /// The service; empty for the pass-through chains.
    pub hostname: &'a str,
    /// The port of the service, 0 for the pass-through chains.
    pub service_port: PortNumber,
    /// Whether the port is declared as gRPC, whose clients retry by themselves.
    pub grpc: bool,
    /// The mesh's inbound retry policy, if it has one.
    pub retries: Option<&'a HttpRetry>,
}

/// Every request to the application (Istio's `BuildDefaultHTTPInboundRoute`).
pub fn inbound_route(inputs: &InboundRouteInputs<'_>) -> Route {
    let unlimited = MaxStreamDuration {
        max_stream_duration: Some(Duration::default()),
        grpc_timeout_header_max: Some(Duration::default()),
        ..Default::default()
    };
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(inputs.cluster.to_string())),
        timeout: Some(Duration::default()),
        max_stream_duration: Some(unlimited),
        retry_policy: if inputs.grpc { None } else { retry::inbound_retry_policy(inputs.retries) },
        ..Default::default()
    };
    every_request(names::DEFAULT_ROUTE, Action::Route(action), Some(format!("{}:{}/*", inputs.hostname, inputs.service_port)))
}

/// A route for every request. `operation` names it in traces.
pub(super) fn every_request(name: &str, action: Action, operation: Option<String>) -> Route {
    Route {
        name: name.to_string(),
        r#match: Some(RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_string())), ..Default::default() }),
        action: Some(action),
        decorator: operation.map(|operation| Decorator { operation, ..Default::default() }),
        ..Default::default()
    }
}
