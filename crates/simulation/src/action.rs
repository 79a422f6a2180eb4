//! What a route does with a request.

use crate::{
    call::{Call, Security},
    outcome::{End, Failure, Forwarded},
    route_match, text_match, virtual_host,
};
use xds_api::Wire;
use xds_api::envoy::{
    config::{
        core::v3::data_source::Specifier,
        route::v3::{
            DirectResponseAction, RedirectAction, Route, RouteAction, RouteMatch,
            redirect_action::{PathRewriteSpecifier, SchemeRewriteSpecifier},
            route::Action,
            route_action::{ClusterSpecifier, HostRewriteSpecifier},
        },
    },
    extensions::filters::http::fault::v3::{HttpFault, fault_abort::ErrorType},
    r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
};

/// Where the request ends.
pub fn end(route: &Route, call: &Call) -> End {
    let anything = RouteMatch::default();
    let matched = route.r#match.as_ref().unwrap_or(&anything);
    if let Some(status) = abort(route) {
        return End::Response { status, body: "fault filter abort".to_owned() };
    }
    match &route.action {
        Some(Action::Route(action)) => forward(action, matched, call),
        Some(Action::Redirect(action)) => redirect(action, matched, call),
        Some(Action::DirectResponse(action)) => respond(action),
        Some(Action::FilterAction(_) | Action::NonForwardingAction(_)) | None => End::Failure(Failure::NotSimulated),
    }
}

/// The status with which the fault filter answers every request of the route. Lesser percentages are left to chance, which
/// is not simulated.
fn abort(route: &Route) -> Option<u32> {
    if matches!(route.action, Some(Action::Redirect(_) | Action::DirectResponse(_))) {
        return None;
    }
    let config = route.typed_per_filter_config.get("envoy.filters.http.fault")?;
    let abort = HttpFault::from_bytes(&config.value).ok()?.abort?;
    match abort.error_type {
        Some(ErrorType::HttpStatus(status)) if abort.percentage.as_ref().is_some_and(is_always) => Some(status),
        _ => None,
    }
}

fn is_always(percentage: &FractionalPercent) -> bool {
    let whole = match DenominatorType::try_from(percentage.denominator) {
        Ok(DenominatorType::Hundred) => 100,
        Ok(DenominatorType::TenThousand) => 10_000,
        Ok(DenominatorType::Million) => 1_000_000,
        Err(_) => return false,
    };
    percentage.numerator >= whole
}

fn forward(action: &RouteAction, matched: &RouteMatch, call: &Call) -> End {
    let mut rewritten = None;
    let clusters = match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(cluster)) => vec![(cluster.clone(), 1)],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            weighted.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.weight.map_or(0, |weight| weight.value))).collect()
        }
        Some(ClusterSpecifier::ClusterHeader(name)) => match call.header(name) {
            Some(cluster) => vec![(cluster.to_owned(), 1)],
            None => return End::Failure(Failure::NoRoute),
        },
        Some(ClusterSpecifier::ClusterSpecifierPlugin(_) | ClusterSpecifier::InlineClusterSpecifierPlugin(_)) | None => {
            return End::Failure(Failure::NotSimulated);
        }
    };
    if let Some(HostRewriteSpecifier::HostRewriteLiteral(host)) = &action.host_rewrite_specifier {
        rewritten = Some(host.clone());
    }
    let mirrors = action.request_mirror_policies.iter().map(|policy| policy.cluster.clone()).collect();
    End::Forwarded(Forwarded {
        clusters,
        authority: rewritten.unwrap_or_else(|| call.authority.clone()),
        path: rewritten_path(action, matched, call),
        mirrors,
    })
}

fn rewritten_path(action: &RouteAction, matched: &RouteMatch, call: &Call) -> String {
    if let Some(rewrite) = &action.regex_rewrite {
        return format!("{}{}", text_match::substitute(rewrite, call.path_only()), call.query());
    }
    if action.prefix_rewrite.is_empty() { call.path.clone() } else { replace_prefix(&action.prefix_rewrite, matched, call) + call.query() }
}

fn replace_prefix(replacement: &str, matched: &RouteMatch, call: &Call) -> String {
    let path = call.path_only();
    let rest = path.get(route_match::matched_length(matched, path)..).unwrap_or_default();
    format!("{replacement}{rest}")
}

/// `RedirectAction`'s new URL (`RouteEntryImplBase::newUri`).
fn redirect(action: &RedirectAction, matched: &RouteMatch, call: &Call) -> End {
    let scheme = match &action.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => "https",
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => scheme,
        _ => call.scheme(),
    };
    let host = if action.host_redirect.is_empty() { kept_host(action, scheme, call) } else { &action.host_redirect };
    let port = if action.port_redirect == 0 { String::new() } else { format!(":{}", action.port_redirect) };
    let query = if action.strip_query { "" } else { call.query() };
    let path = match &action.path_rewrite_specifier {
        // A query of its own replaces that of the request.
        Some(PathRewriteSpecifier::PathRedirect(path)) if path.contains('?') => path.clone(),
        Some(PathRewriteSpecifier::PathRedirect(path)) if !path.is_empty() => format!("{path}{query}"),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) if !prefix.is_empty() => {
            format!("{}{query}", replace_prefix(prefix, matched, call))
        }
        Some(PathRewriteSpecifier::RegexRewrite(rewrite)) => format!("{}{query}", text_match::substitute(rewrite, call.path_only())),
        _ => format!("{}{query}", call.path_only()),
    };
    let status = match action.response_code {
        1 => 302,
        2 => 303,
        3 => 307,
        4 => 308,
        _ => 301,
    };
    End::Redirect { status, location: format!("{scheme}://{host}{port}{path}") }
}

/// The host of the request, without a port that the redirect replaces or that was the default of the former scheme.
fn kept_host<'a>(action: &RedirectAction, scheme: &str, call: &'a Call) -> &'a str {
    let default_port = if call.security == Security::Plaintext { ":80" } else { ":443" };
    let other_scheme = scheme != call.scheme() && call.authority.ends_with(default_port);
    if action.port_redirect != 0 || other_scheme { virtual_host::without_port(&call.authority) } else { &call.authority }
}

fn respond(action: &DirectResponseAction) -> End {
    let body = match action.body.as_ref().and_then(|body| body.specifier.as_ref()) {
        Some(Specifier::InlineString(text)) => text.clone(),
        Some(Specifier::InlineBytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    End::Response { status: action.status, body }
}
