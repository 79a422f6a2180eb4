//! Redirects (Istio's `ApplyRedirect`).

use super::http_route::RouteSemantics;
use base::PortNumber;
use istio_api::networking::virtual_service::{HttpRedirect, RedirectPort, RedirectPortSelection};
use xds_api::envoy::config::route::v3::{
    RedirectAction,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
};

/// Marks a Gateway API redirect that replaces only the matched prefix.
const PREFIX_MARK: &str = "%PREFIX()%";

/// The redirect; `None` for a status code that is no redirect. `tls` says whether the listener terminates TLS.
pub(super) fn redirect_action(
    redirect: &HttpRedirect,
    listener_port: PortNumber,
    tls: bool,
    semantics: RouteSemantics,
) -> Option<RedirectAction> {
    let scheme = Some(redirect.scheme.clone()).filter(|scheme| !scheme.is_empty());
    let port = port(redirect, listener_port);
    let effective_scheme = scheme.as_deref().unwrap_or(if tls { "https" } else { "http" });
    Some(RedirectAction {
        host_redirect: redirect.authority.clone(),
        port_redirect: if is_default_port(effective_scheme, port) { 0 } else { port },
        response_code: response_code(redirect.redirect_code)?.into(),
        path_rewrite_specifier: Some(path(redirect, semantics)),
        scheme_rewrite_specifier: scheme.map(SchemeRewriteSpecifier::SchemeRedirect),
        ..Default::default()
    })
}

/// 0 leaves the port to Envoy, which then drops a port that is the old scheme's default.
fn port(redirect: &HttpRedirect, listener_port: PortNumber) -> u32 {
    match redirect.redirect_port() {
        Some(RedirectPort::Number(port)) => *port,
        // Envoy cannot derive it, but the route is built for one listener port, which is the port of the request.
        Some(RedirectPort::Derived(RedirectPortSelection::FromRequestPort)) => listener_port.into(),
        Some(RedirectPort::Derived(RedirectPortSelection::FromProtocolDefault)) | None => 0,
    }
}

/// `http://host:80` and `https://host:443` must not reach users.
fn is_default_port(scheme: &str, port: u32) -> bool {
    matches!((scheme, port), ("http", 80) | ("https", 443))
}

fn path(redirect: &HttpRedirect, semantics: RouteSemantics) -> PathRewriteSpecifier {
    if !redirect.prefix_rewrite.is_empty() {
        return PathRewriteSpecifier::PrefixRewrite(redirect.prefix_rewrite.clone());
    }
    match redirect.uri.strip_prefix(PREFIX_MARK) {
        Some(prefix) if semantics == RouteSemantics::GatewayApi => PathRewriteSpecifier::PrefixRewrite(prefix.to_string()),
        _ => PathRewriteSpecifier::PathRedirect(redirect.uri.clone()),
    }
}

fn response_code(code: u32) -> Option<RedirectResponseCode> {
    Some(match code {
        0 | 301 => RedirectResponseCode::MovedPermanently,
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => return None,
    })
}
