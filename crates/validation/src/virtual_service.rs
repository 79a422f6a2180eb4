//! VirtualService (Istio's `ValidateVirtualService`).

use crate::{
    amount::{duration, percent, regex, whole_percent},
    header,
    host::{is_cluster_sni, is_ip, is_label, port, wildcard_domain_error},
    report::{Field, Report, each},
    route_match, selector, unreachable,
};
use base::{GRPC_STATUSES, Hostname};
use istio_api::networking::virtual_service::{
    AbortError, CorsPolicy, DelayType, Destination, HttpDirectResponse, HttpFaultInjection, HttpRedirect, HttpRetry, HttpRewrite,
    HttpRoute, RouteDestination, StringMatcher, VirtualService,
};
use std::collections::BTreeMap;

pub(crate) fn validate(report: &mut Report, namespace: &str, service: &VirtualService) {
    let at = Field::Root("spec");
    let role = if service.hosts.is_empty() { Role::Delegate } else { Role::Independent };
    if role == Role::Delegate {
        delegate_shape(report, &at, service);
    }
    route_match::gateway_names(report, &at, &service.gateways);
    let applies_to_mesh = service.gateways.is_empty() || service.gateways.iter().any(|gateway| gateway == "mesh");
    if service.gateways.iter().all(|gateway| gateway == "mesh") {
        claims_need_gateway(report, &at, service);
    }
    hosts(report, &at, &service.hosts, applies_to_mesh);
    if service.http.is_empty() && service.tcp.is_empty() && service.tls.is_empty() {
        report.error(&at, "http, tcp or tls must be provided in virtual service");
    }
    each(report, &at, "http", &service.http, |report, at, route| http_route(report, at, route, role));
    each(report, &at, "tls", &service.tls, |report, at, route| {
        if route.matches.is_empty() {
            report.error(at, "TLS route must have at least one match condition, e.g. by sniHosts");
        }
        each(report, at, "match", &route.matches, |report, at, matches| route_match::tls(report, at, matches, &service.hosts));
        destinations(report, at, "TLS", &route.route);
    });
    each(report, &at, "tcp", &service.tcp, |report, at, route| {
        each(report, at, "match", &route.matches, route_match::tcp);
        destinations(report, at, "TCP", &route.route);
    });
    selector::export_to(report, &at, namespace, &service.export_to, selector::Exported::Other);
    unreachable::rules(report, &at, service);
}

/// The place of a route among VirtualServices.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Independent,
    Delegate,
}

fn delegate_shape(report: &mut Report, at: &Field<'_>, service: &VirtualService) {
    let shapes = [
        ("gateways", !service.gateways.is_empty(), "gateways"),
        ("tls", !service.tls.is_empty(), "tls route"),
        ("tcp", !service.tcp.is_empty(), "tcp route"),
    ];
    for (field, set, what) in shapes {
        if set {
            report
                .error(&at.key(field), format!("delegate virtual service must have no {what} specified; write hosts if it is no delegate"));
        }
    }
}

fn claims_need_gateway(report: &mut Report, at: &Field<'_>, service: &VirtualService) {
    let headers = |route: &HttpRoute| {
        let names = route.matches.iter().flat_map(|m| m.headers.keys().chain(m.without_headers.keys()));
        names.filter(|name| header::is_claim(name)).cloned().collect::<Vec<_>>()
    };
    each(report, at, "http", &service.http, |report, at, route| {
        for key in headers(route) {
            let gateways = service.gateways.join(" ");
            report.error(
                &at.key("match"),
                format!("JWT claim based routing (key: {key}) is only supported for gateway, found no gateways: [{gateways}]"),
            );
        }
    });
}

fn hosts(report: &mut Report, at: &Field<'_>, hosts: &[String], applies_to_mesh: bool) {
    let mut valid = true;
    each(report, at, "hosts", hosts, |report, at, host| {
        if let Some(error) = wildcard_domain_error(host) {
            if !is_ip(host) && !is_cluster_sni(host) {
                valid = false;
                report.error(at, error);
            }
        } else if applies_to_mesh && host == "*" {
            valid = false;
            report
                .error(at, "wildcard host * is not allowed for virtual services bound to the mesh gateway; name a gateway under gateways");
        }
    });
    if !valid {
        return;
    }
    let names: Vec<Hostname> = hosts.iter().map(Hostname::new).collect();
    each(report, at, "hosts", &names, |report, at, first| {
        let Field::Index(_, index) = at else { return };
        for second in names.iter().skip(index + 1).filter(|second| first.matches(second)) {
            report.error(at, format!("duplicate hosts in virtual service: {first} & {second}"));
        }
    });
}

fn http_route(report: &mut Report, at: &Field<'_>, route: &HttpRoute, role: Role) {
    conflicts(report, at, route, role);
    each(report, at, "match", &route.matches, route_match::http);
    header::operations(report, at, route.headers.as_ref());
    if let Some(policy) = &route.cors_policy {
        cors(report, &at.key("corsPolicy"), policy);
    }
    if let Some(injection) = &route.fault {
        fault(report, &at.key("fault"), injection);
    }
    mirrors(report, at, route);
    if let Some(to) = &route.redirect {
        redirect(report, &at.key("redirect"), to, route);
    }
    if let Some(response) = &route.direct_response {
        direct_response(report, &at.key("directResponse"), response);
    }
    if let Some(policy) = &route.retries {
        retries(report, &at.key("retries"), policy);
    }
    if let Some(changes) = &route.rewrite {
        rewrite(report, &at.key("rewrite"), changes);
    }
    authority_once(report, at, route);
    each(report, at, "route", &route.route, |report, at, weighted| {
        required_destination(report, at, weighted.destination.as_ref());
        header::operations(report, at, weighted.headers.as_ref());
    });
    weights(report, &at.key("route"), &route.route.iter().map(|weighted| weighted.weight).collect::<Vec<_>>());
    duration(report, &at.key("timeout"), route.timeout);
}

/// Which parts of a route exclude each other.
fn conflicts(report: &mut Report, at: &Field<'_>, route: &HttpRoute, role: Role) {
    if let Some(delegate) = &route.delegate {
        if role == Role::Delegate {
            report.error(at, format!("delegate HTTP route {} cannot contain delegate", route.name));
        } else {
            root_conflicts(report, at, route);
            if delegate.name.is_empty() {
                report.error(&at.key("delegate"), "delegate name cannot be empty; name a VirtualService without hosts");
            }
            return;
        }
    }
    if route.mirror.is_some() && !route.mirrors.is_empty() {
        report.error(&at.key("mirrors"), "HTTP route cannot contain both mirror and mirrors");
    }
    let mut both = |answer: &str| {
        let others = [("route", !route.route.is_empty()), ("fault", route.fault.is_some()), ("rewrite", route.rewrite.is_some())];
        for (other, _) in others.iter().filter(|(_, set)| *set) {
            let rule = if *other == "rewrite" { "HTTP route rule" } else { "HTTP route" };
            report.error(at, format!("{rule} cannot contain both {other} and {answer}"));
        }
    };
    match (&route.redirect, &route.direct_response) {
        (Some(_), response) => {
            both("redirect");
            if response.is_some() {
                report.error(at, "HTTP route rule cannot contain both direct_response and redirect");
            }
        }
        (None, Some(_)) => both("direct_response"),
        (None, None) if route.route.is_empty() => report.error(at, "HTTP route, redirect or direct_response is required"),
        (None, None) => {}
    }
}

fn root_conflicts(report: &mut Report, at: &Field<'_>, route: &HttpRoute) {
    if route.redirect.is_some() {
        report.error(&at.key("redirect"), format!("root HTTP route {} must not specify redirect", route.name));
    }
    if !route.route.is_empty() {
        report.error(&at.key("route"), format!("root HTTP route {} must not specify route", route.name));
    }
    if route.direct_response.is_some() {
        report.error(&at.key("directResponse"), format!("root HTTP route {} must not specify direct_response", route.name));
    }
}

/// Checks where traffic goes.
pub(crate) fn destination(report: &mut Report, at: &Field<'_>, destination: &Destination) {
    let host = at.key("host");
    if destination.host == "*" {
        report.error(&host, "invalid destination host *");
    } else if let Some(error) = wildcard_domain_error(&destination.host) {
        report.error(&host, error);
    }
    if !destination.subset.is_empty() && !is_label(&destination.subset) {
        report.error(&at.key("subset"), format!("subset name is invalid: {}", destination.subset));
    }
    if let Some(selector) = &destination.port {
        port(report, &at.key("port").key("number"), selector.number);
    }
}

fn required_destination(report: &mut Report, at: &Field<'_>, to: Option<&Destination>) {
    match to {
        Some(to) => destination(report, &at.key("destination"), to),
        None => report.error(at, "destination is required"),
    }
}

fn destinations(report: &mut Report, at: &Field<'_>, protocol: &str, route: &[RouteDestination]) {
    if route.is_empty() {
        report.error(at, format!("{protocol} route is required"));
    }
    each(report, at, "route", route, |report, at, weighted| required_destination(report, at, weighted.destination.as_ref()));
    weights(report, &at.key("route"), &route.iter().map(|weighted| weighted.weight).collect::<Vec<_>>());
}

fn weights(report: &mut Report, at: &Field<'_>, weights: &[i32]) {
    for (index, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight < 0) {
        report.error(&at.index(index).key("weight"), format!("weight {weight} < 0"));
    }
    if weights.len() > 1 && weights.iter().all(|weight| *weight == 0) {
        report.error(at, "total destination weight = 0; give each destination a weight");
    }
}

fn mirrors(report: &mut Report, at: &Field<'_>, route: &HttpRoute) {
    if let Some(to) = &route.mirror {
        destination(report, &at.key("mirror"), to);
    }
    if let Some(percent) = route.mirror_percent.filter(|percent| *percent > 100) {
        report.error(&at.key("mirrorPercent"), format!("mirror_percent must have a max value of 100 (it has {percent})"));
    }
    let share = |at: &Field<'_>, name: &str, value: f64, report: &mut Report| {
        if value > 100.0 {
            report.error(at, format!("{name} must have a max value of 100 (it has {value:.6})"));
        } else if value < 0.0 {
            report.error(at, format!("{name} must have a min value of 0 (it has {value:.6})"));
        }
    };
    if let Some(percent) = &route.mirror_percentage {
        share(&at.key("mirrorPercentage"), "mirror_percentage", percent.value, report);
    }
    each(report, at, "mirrors", &route.mirrors, |report, at, mirror| {
        required_destination(report, at, mirror.destination.as_ref());
        if let Some(percent) = &mirror.percentage {
            share(&at.key("percentage"), "mirror percentage", percent.value, report);
        }
    });
}

fn redirect(report: &mut Report, at: &Field<'_>, redirect: &HttpRedirect, route: &HttpRoute) {
    let port_set = redirect.port.is_some() || redirect.derive_port.is_some();
    let texts = [&redirect.uri, &redirect.authority, &redirect.scheme, &redirect.prefix_rewrite];
    if texts.iter().all(|text| text.is_empty()) && !port_set {
        report.error(at, "redirect must specify URI, authority, scheme, or port");
    }
    if redirect.redirect_code != 0 && !(300..=399).contains(&redirect.redirect_code) {
        report.error(&at.key("redirectCode"), format!("{} is not a valid redirect code, must be 3xx", redirect.redirect_code));
    }
    if !matches!(redirect.scheme.as_str(), "" | "http" | "https") {
        report.error(&at.key("scheme"), "invalid redirect scheme, must be \"http\" or \"https\"");
    }
    if let Some(number) = redirect.port.filter(|number| *number > 0) {
        port(report, &at.key("port"), number);
    }
    if redirect.prefix_rewrite.is_empty() {
        return;
    }
    if !redirect.uri.is_empty() {
        report.error(at, "redirect may only contain one of uri and prefix_rewrite");
    }
    let by_prefix = |uri: Option<StringMatcher<'_>>| matches!(uri, Some(StringMatcher::Prefix(_)));
    if !route.matches.iter().filter_map(|m| m.uri.as_ref()).all(|uri| by_prefix(uri.matcher())) {
        report.error(&at.key("prefixRewrite"), "redirect prefix_rewrite requires all URI matches to use prefix match type");
    }
}

fn direct_response(report: &mut Report, at: &Field<'_>, response: &HttpDirectResponse) {
    http_status(report, &at.key("status"), i64::from(response.status));
    let size = response.body.as_ref().map_or(0, |body| {
        let text = body.string.as_ref().map_or(0, String::len);
        text.max(body.bytes.as_ref().map_or(0, |bytes| bytes.0.len()))
    });
    if size > 1024 * 1024 {
        report.error(&at.key("body"), "large direct_responses may impact control plane performance, must be less than 1MB");
    } else if size > 100 * 1024 {
        report.warning(&at.key("body"), "large direct_responses may impact control plane performance");
    }
}

fn http_status(report: &mut Report, at: &Field<'_>, status: i64) {
    if !(200..=599).contains(&status) {
        report.error(at, format!("HTTP status {status} is not in range 200-599"));
    }
}

/// Conditions of Envoy's `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.
const RETRY_CONDITIONS: [&str; 17] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
    "default",
];

fn retries(report: &mut Report, at: &Field<'_>, retry: &HttpRetry) {
    if retry.attempts < 0 {
        report.error(&at.key("attempts"), "attempts cannot be negative");
    }
    if retry.attempts == 0 && (retry.per_try_timeout.is_some() || !retry.retry_on.is_empty() || retry.retry_remote_localities.is_some()) {
        report.error(at, "http retry policy configured when attempts are set to 0 (disabled)");
    }
    duration(report, &at.key("perTryTimeout"), retry.per_try_timeout);
    duration(report, &at.key("backoff"), retry.backoff);
    if retry.retry_on.is_empty() {
        return;
    }
    for policy in retry.retry_on.split(',') {
        let status = policy.parse::<u16>().is_ok_and(is_known_status);
        if !status && !RETRY_CONDITIONS.contains(&policy) {
            report.error(&at.key("retryOn"), format!("{policy:?} is not a valid retryOn policy"));
        }
    }
}

/// The statuses that Go's `http.StatusText` knows.
fn is_known_status(status: u16) -> bool {
    matches!(status, 100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508 | 510 | 511)
}

fn rewrite(report: &mut Report, at: &Field<'_>, rewrite: &HttpRewrite) {
    if !rewrite.uri.is_empty() && rewrite.uri_regex_rewrite.is_some() {
        report.error(at, "rewrite may only contain one of URI or UriRegexRewrite");
    }
    match &rewrite.uri_regex_rewrite {
        None if rewrite.uri.is_empty() && rewrite.authority.is_empty() => report.error(
            at,
            "rewrite must specify at least one of URI, UriRegexRewrite, or authority. Only one of URI or UriRegexRewrite may be specified",
        ),
        None => {}
        Some(by) if by.matches.is_empty() || by.rewrite.is_empty() => {
            report.error(&at.key("uriRegexRewrite"), "UriRegexRewrite requires both Rewrite and Match fields to be specified");
        }
        Some(by) => {
            let at = at.key("uriRegexRewrite");
            regex(report, &at.key("match"), "HTTPRewrite.UriRegexRewrite.Match", &by.matches);
            groups(report, &at.key("rewrite"), &by.matches, &by.rewrite);
        }
    }
}

/// A group that the expression does not have leaves the path as it is.
fn groups(report: &mut Report, at: &Field<'_>, expression: &str, rewrite: &str) {
    let Ok(expression) = regex::Regex::new(expression) else { return };
    // The whole match counts as a group here, and is `\0`.
    let last = expression.captures_len().saturating_sub(1);
    let mut letters = rewrite.chars();
    while let Some(letter) = letters.next() {
        let number = (letter == '\\').then(|| letters.next()).flatten().and_then(|letter| letter.to_digit(10));
        if let Some(number) = number.filter(|number| usize::try_from(*number).is_ok_and(|number| number > last)) {
            report.warning(
                at,
                format!("\\{number} is no group of the expression, which has {last}, so that no path is rewritten; mend the number"),
            );
        }
    }
}

/// The authority may be changed in one place only.
fn authority_once(report: &mut Report, at: &Field<'_>, route: &HttpRoute) {
    let none = BTreeMap::new();
    let request = route.headers.as_ref().and_then(|headers| headers.request.as_ref());
    let (set, add) = request.map_or((&none, &none), |request| (&request.set, &request.add));
    let mut current = route.rewrite.as_ref().map_or("", |rewrite| &rewrite.authority);
    for (_, value) in set.iter().chain(add).filter(|(name, _)| header::is_authority(name)) {
        if !current.is_empty() {
            report.error(at, format!("authority header cannot be set multiple times: have {current:?}, attempting to set {value:?}"));
        }
        current = value;
    }
}

fn cors(report: &mut Report, at: &Field<'_>, policy: &CorsPolicy) {
    each(report, at, "allowOrigins", &policy.allow_origins, |report, at, origin| match origin.matcher() {
        Some(StringMatcher::Regex(expression)) if !expression.is_empty() => regex(report, at, "corsPolicy.allowOrigins", expression),
        Some(StringMatcher::Exact(text) | StringMatcher::Prefix(text)) if !text.is_empty() => {}
        _ => report.error(at, "'' is not a valid match type for CORS allow origins"),
    });
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];
    each(report, at, "allowMethods", &policy.allow_methods, |report, at, method| {
        if !methods.contains(&method.as_str()) {
            report.error(at, format!("{method:?} is not a supported HTTP method"));
        }
    });
    for (field, names) in [("allowHeaders", &policy.allow_headers), ("exposeHeaders", &policy.expose_headers)] {
        each(report, at, field, names, |report, at, name| {
            if name.is_empty() {
                report.error(at, "header name cannot be empty");
            }
        });
    }
    duration(report, &at.key("maxAge"), policy.max_age);
    if policy.max_age.is_some_and(|age| age.subsec_nanos() > 0) {
        report.error(&at.key("maxAge"), "max_age duration is accurate only to seconds precision");
    }
}

fn fault(report: &mut Report, at: &Field<'_>, fault: &HttpFaultInjection) {
    if fault.abort.is_none() && fault.delay.is_none() {
        report.error(at, "HTTP fault injection must have an abort and/or a delay");
    }
    if let Some(abort) = &fault.abort {
        let at = at.key("abort");
        percent(report, &at.key("percentage"), abort.percentage.as_ref());
        match abort.error_type() {
            Some(AbortError::HttpStatus(status)) => http_status(report, &at.key("httpStatus"), i64::from(*status)),
            Some(AbortError::GrpcStatus(status)) if !GRPC_STATUSES.contains(&status) => report.error(
                &at.key("grpcStatus"),
                format!(
                    "gRPC status {status:?} is not supported. See https://github.com/grpc/grpc/blob/master/doc/statuscodes.md \
                     for a list of supported codes, for example 'NOT_FOUND'"
                ),
            ),
            Some(AbortError::Http2Error(_)) => report.error(&at.key("http2Error"), "HTTP/2 abort fault injection not supported yet"),
            Some(AbortError::GrpcStatus(_)) | None => {}
        }
    }
    if let Some(delay) = &fault.delay {
        let at = at.key("delay");
        whole_percent(report, &at.key("percent"), delay.percent);
        percent(report, &at.key("percentage"), delay.percentage.as_ref());
        match delay.delay_type() {
            Some(DelayType::Fixed(delay)) => duration(report, &at.key("fixedDelay"), Some(*delay)),
            Some(DelayType::Exponential(_)) => report.error(&at.key("exponentialDelay"), "exponentialDelay not supported yet"),
            None => {}
        }
    }
}
