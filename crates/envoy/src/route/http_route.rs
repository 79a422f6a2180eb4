//! The routes of one VirtualService on one listener port (Istio's `BuildHTTPRoutesForVirtualService`).

use super::{
    action::forward,
    cors::cors_policy,
    destination::{Destinations, Resolver},
    direct_response::{direct_response_action, status_only},
    fault::fault,
    headers::HeaderChanges,
    matches::{can_match, route_match},
    redirect::redirect_action,
};
use crate::filter::http::stateful_session;
use base::{Diagnostic, Labels, ObjectRef, PortNumber};
use istio_api::networking::virtual_service::{HttpMatchRequest, HttpRetry, HttpRoute, VirtualService};
use std::collections::{BTreeMap, BTreeSet};
use xds_api::{
    Wire,
    envoy::config::{
        core::v3::Metadata,
        route::v3::{Decorator, Route, RouteMatch, route::Action, route_match::PathSpecifier},
    },
    google::protobuf::{Any, Struct},
};

/// The names under which the HTTP filters look for their configuration of a route.
const FAULT_FILTER: &str = "envoy.filters.http.fault";
const CORS_FILTER: &str = "envoy.filters.http.cors";

/// The proxy for which routes are built, as far as matches look at it.
#[derive(Clone, Copy, Debug)]
pub struct RouteClient<'a> {
    /// Of the workload, for `sourceLabels`.
    pub labels: &'a Labels,
    /// Of the workload, for `sourceNamespace`.
    pub namespace: &'a str,
}

/// Where a VirtualService comes from, which changes what a few of its fields mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RouteSemantics {
    /// A user wrote it.
    #[default]
    VirtualService,
    /// Made from an Ingress: prefixes are path elements.
    Ingress,
    /// Made from a route of the Gateway API: prefixes are path elements, and what replaces them is trimmed.
    GatewayApi,
}

/// What the mesh settings say about routes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RouteDefaults {
    /// `defaultHttpRetryPolicy`, for rules without `retries`.
    pub retries: Option<HttpRetry>,
    /// `defaultInboundHttpRetryPolicy`.
    pub inbound_retries: Option<HttpRetry>,
    /// Not `DISABLE_SHADOW_HOST_SUFFIX`: mirrored requests have `-shadow` after their host.
    pub shadow_host_suffix: bool,
    /// `proxyHeaders.xForwardedHost`: a host that is rewritten is kept in a header.
    pub forwards_host: bool,
}

/// Everything that the routes of one VirtualService depend on.
#[derive(Clone, Copy)]
pub struct HttpRouteInputs<'a> {
    /// The `spec`, delegates merged; destinations as written.
    pub virtual_service: &'a VirtualService,
    /// Of the object.
    pub name: &'a str,
    /// Of the object; short names belong to it.
    pub namespace: &'a str,
    /// The suffix of services, for destinations that are not in `destinations`.
    pub domain: &'a str,
    /// Where it comes from.
    pub semantics: RouteSemantics,
    /// The port of the requests.
    pub listener_port: PortNumber,
    /// Whether the listener terminates TLS for the user, so that redirects default to https.
    pub tls: bool,
    /// For whom.
    pub client: RouteClient<'a>,
    /// What the routes are built for: `mesh` or `namespace/name` of gateways.
    pub gateways: &'a BTreeSet<String>,
    /// What is known about the destinations.
    pub destinations: &'a Destinations,
    /// The settings of the mesh.
    pub defaults: &'a RouteDefaults,
}

impl<'a> HttpRouteInputs<'a> {
    pub(super) fn resolver(&self) -> Resolver<'a> {
        Resolver { destinations: self.destinations, namespace: self.namespace, domain: self.domain, listener_port: self.listener_port }
    }
}

/// One route for each match that can be met, in the order of the rules, up to the first that matches every request. No
/// routes mean that the VirtualService has nothing to say here. Rules that Envoy would refuse (and with them all routes of
/// the listener) answer 500 instead and are reported.
pub fn http_routes(inputs: &HttpRouteInputs<'_>) -> (Vec<Route>, Vec<Diagnostic>) {
    let mut routes = Vec::new();
    let mut diagnostics = Vec::new();
    for (index, rule) in inputs.virtual_service.http.iter().enumerate() {
        let first = routes.len();
        if rule.matches.is_empty() {
            routes.push(route(rule, None, inputs));
        }
        for request in rule.matches.iter().filter(|request| can_match(request, inputs)) {
            routes.push(route(rule, Some(request), inputs));
            if routes.last().is_some_and(is_catch_all) {
                break;
            }
        }
        if routes.len() > first {
            diagnostics.extend(mistake(rule, index, inputs));
        }
        if routes.iter().skip(first).any(is_catch_all) {
            break;
        }
    }
    (routes, diagnostics)
}

/// Whether the route takes every request of its virtual host.
pub fn is_catch_all(route: &Route) -> bool {
    let Some(route_match) = &route.r#match else { return false };
    let every_path = match &route_match.path_specifier {
        Some(PathSpecifier::Prefix(prefix) | PathSpecifier::PathSeparatedPrefix(prefix)) => prefix == "/",
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex == ".*",
        _ => false,
    };
    every_path && route_match.headers.is_empty() && route_match.query_parameters.is_empty() && route_match.dynamic_metadata.is_empty()
}

/// Joins routes of several VirtualServices of a gateway's host: those that take every request go to the end, the order is
/// kept otherwise (Istio's `SortVHostRoutes`).
pub fn move_catch_alls_last(routes: &mut [Route]) {
    routes.sort_by_key(is_catch_all);
}

fn route(rule: &HttpRoute, request: Option<&HttpMatchRequest>, inputs: &HttpRouteInputs<'_>) -> Route {
    let mut headers = HeaderChanges::new(rule.headers.as_ref());
    let mut out = Route {
        name: route_name(rule, request),
        r#match: Some(route_match(request, inputs.semantics)),
        metadata: Some(origin(inputs)),
        stat_prefix: request.map(|request| request.stat_prefix.clone()).unwrap_or_default(),
        typed_per_filter_config: per_filter_config(rule),
        ..Default::default()
    };
    let mut authority = None;
    let action = if let Some(redirect) = &rule.redirect {
        redirect_action(redirect, inputs.listener_port, inputs.tls, inputs.semantics).map(Action::Redirect)
    } else if let Some(response) = &rule.direct_response {
        Some(Action::DirectResponse(direct_response_action(response)))
    } else {
        forward(rule, inputs, out.r#match.as_ref(), headers.authority.take()).map(|forward| {
            authority = forward.authority;
            let session = forward.session.map(|session| (stateful_session::NAME.to_string(), stateful_session::of_route(&session)));
            out.typed_per_filter_config.extend(session);
            append(&mut headers, forward.headers);
            Action::Route(forward.action)
        })
    };
    out.action = Some(action.unwrap_or_else(|| Action::DirectResponse(status_only(500))));
    let target = authority.unwrap_or_else(|| format!("{}:{}", inputs.name, inputs.listener_port));
    out.decorator = Some(Decorator { operation: target + &described_path(out.r#match.as_ref()), ..Default::default() });
    out.request_headers_to_add = headers.request_headers_to_add;
    out.request_headers_to_remove = headers.request_headers_to_remove;
    out.response_headers_to_add = headers.response_headers_to_add;
    out.response_headers_to_remove = headers.response_headers_to_remove;
    out
}

/// The changes of the destination come after those of the rule and so can undo them.
fn append(headers: &mut HeaderChanges, destination: HeaderChanges) {
    headers.request_headers_to_add.extend(destination.request_headers_to_add);
    headers.request_headers_to_remove.extend(destination.request_headers_to_remove);
    headers.response_headers_to_add.extend(destination.response_headers_to_add);
    headers.response_headers_to_remove.extend(destination.response_headers_to_remove);
}

fn route_name(rule: &HttpRoute, request: Option<&HttpMatchRequest>) -> String {
    match request {
        Some(request) if !request.name.is_empty() => format!("{}.{}", rule.name, request.name),
        _ => rule.name.clone(),
    }
}

/// The object behind the route, in Istio's spelling, for logs and tools.
fn origin(inputs: &HttpRouteInputs<'_>) -> Metadata {
    let path = format!("/apis/networking.istio.io/v1/namespaces/{}/virtual-service/{}", inputs.namespace, inputs.name);
    let config = Struct::from_iter([("config", path)]);
    Metadata { filter_metadata: BTreeMap::from([("istio".to_string(), config)]), ..Default::default() }
}

fn per_filter_config(rule: &HttpRoute) -> BTreeMap<String, Any> {
    let fault = rule.fault.as_ref().and_then(fault).map(|fault| (FAULT_FILTER.to_string(), fault.to_any()));
    let cors = rule.cors_policy.as_ref().map(|policy| (CORS_FILTER.to_string(), cors_policy(policy).to_any()));
    fault.into_iter().chain(cors).collect()
}

/// The path as the operation of traces names it.
fn described_path(route_match: Option<&RouteMatch>) -> String {
    match route_match.and_then(|route_match| route_match.path_specifier.as_ref()) {
        Some(PathSpecifier::Prefix(prefix)) => format!("{prefix}*"),
        Some(PathSpecifier::Path(path)) => path.clone(),
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex.clone(),
        _ => "/*".to_string(),
    }
}

/// Why `rule` answers 500, if it does.
fn mistake(rule: &HttpRoute, index: usize, inputs: &HttpRouteInputs<'_>) -> Option<Diagnostic> {
    let object = || Some(ObjectRef::new("VirtualService", inputs.namespace, inputs.name));
    let report = |field: &str, message: String| {
        Some(Diagnostic::error(
            "IST0106",
            object(),
            format!("spec.http[{index}].{field}"),
            message + "; its requests are answered with status 500",
        ))
    };
    if let Some(redirect) = &rule.redirect {
        let supported = redirect_action(redirect, inputs.listener_port, inputs.tls, inputs.semantics).is_some();
        let message = || format!("redirectCode {} is no redirect; use 301, 302, 303, 307 or 308", redirect.redirect_code);
        return if supported { None } else { report("redirect.redirectCode", message()) };
    }
    if rule.direct_response.is_some() {
        return None;
    }
    let usable = rule.route.iter().filter(|destination| destination.destination.is_some());
    let count = usable.clone().filter(|destination| rule.route.len() == 1 || destination.weight > 0).count();
    match rule.route.len() {
        _ if count > 0 => None,
        0 => report("route", "the rule has no destination, redirect or directResponse; add one".to_string()),
        1 => report("route[0].destination", "the destination is missing; name a host".to_string()),
        _ => report("route", "no destination has a weight above 0; give the weights".to_string()),
    }
}
