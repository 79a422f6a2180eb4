//! Delegation: a rule of one VirtualService (the root) stands for the rules of another (the delegate), which has no hosts
//! and is bound to nothing by itself (Istio's `mergeHTTPRoute`). One level deep: delegates do not delegate.

use crate::VirtualService;
use base::{Diagnostic, Namespace};
use istio_api::networking::virtual_service::{Delegate, HttpMatchRequest, HttpRoute, StringMatch, StringMatcher};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Puts the rules of delegates in the place of those that delegate; rows without delegates stay as they are. Cost: the
/// number of rows, and the rules of those that delegate.
pub(crate) fn merge(rows: &mut [Arc<VirtualService>]) {
    let delegates = |vs: &VirtualService| !vs.is_delegate() && vs.spec.http.iter().any(|route| route.delegate.is_some());
    if !rows.iter().any(|row| delegates(row)) {
        return;
    }
    let all: BTreeMap<_, _> = rows.iter().map(|vs| ((vs.namespace.clone(), vs.name.clone()), vs.clone())).collect();
    for row in rows.iter_mut().filter(|row| delegates(row)) {
        *row = Arc::new(merged(row, &all));
    }
}

fn merged(root: &VirtualService, all: &BTreeMap<(Namespace, Arc<str>), Arc<VirtualService>>) -> VirtualService {
    let mut out = root.clone();
    let mut delegates = BTreeSet::new();
    out.spec.http.clear();
    for (index, route) in root.spec.http.iter().enumerate() {
        let Some(reference) = &route.delegate else {
            out.spec.http.push(route.clone());
            continue;
        };
        match find(root, reference, all) {
            Ok(delegate) => {
                delegates.insert(delegate.origin.clone());
                merge_rule(root, index, route, delegate, &mut out);
            }
            Err(text) => {
                out.findings.push(Diagnostic::error("IST0101", Some(root.origin.clone()), format!("spec.http[{index}].delegate"), text));
            }
        }
    }
    out.delegates = delegates.into_iter().collect();
    out
}

/// The delegate that the root means, or why there is none. A name without a namespace is one of the root's own.
fn find<'a>(
    root: &VirtualService,
    reference: &Delegate,
    all: &'a BTreeMap<(Namespace, Arc<str>), Arc<VirtualService>>,
) -> Result<&'a VirtualService, String> {
    let namespace = if reference.namespace.is_empty() { root.namespace.clone() } else { Namespace::new(&reference.namespace) };
    let key = (namespace, Arc::from(reference.name.as_str()));
    let name = format!("VirtualService {}/{}", key.0, key.1);
    let Some(delegate) = all.get(&key) else {
        return Err(format!("the delegate {name} does not exist or is broken, so the rule is left out; create it, or mend the name"));
    };
    if !delegate.is_delegate() {
        return Err(format!("{name} has hosts and so is no delegate, and the rule is left out; remove its hosts, or name another"));
    }
    if !delegate.visibility.allows(&root.namespace) {
        return Err(format!(
            "the delegate {name} is not exported to the namespace {}, so the rule is left out; add it to the delegate's exportTo",
            root.namespace
        ));
    }
    Ok(delegate)
}

/// Adds the rules of the delegate that lie within what `route`, the root's rule at `index`, matches.
fn merge_rule(root: &VirtualService, index: usize, route: &HttpRoute, delegate: &VirtualService, out: &mut VirtualService) {
    for (inner_index, inner) in delegate.spec.http.iter().enumerate() {
        let Some(matches) = merge_matches(&route.matches, &inner.matches) else {
            let text = format!(
                "the match does not lie within that of spec.http[{index}] of {}, which delegates to it, so the rule is left out \
                 there; narrow the match, or leave out what the root matches already",
                root.origin
            );
            let field = format!("spec.http[{inner_index}].match");
            out.findings.push(Diagnostic::error("DelegateConflict", Some(delegate.origin.clone()), field, text));
            continue;
        };
        out.spec.http.push(merge_route(route, inner, matches));
    }
}

/// The delegate's fields win; what it leaves open is the root's.
fn merge_route(root: &HttpRoute, delegate: &HttpRoute, matches: Vec<HttpMatchRequest>) -> HttpRoute {
    let inner = delegate.clone();
    HttpRoute {
        name: join(&root.name, &inner.name),
        matches,
        rewrite: inner.rewrite.or_else(|| root.rewrite.clone()),
        direct_response: inner.direct_response.or_else(|| root.direct_response.clone()),
        timeout: inner.timeout.or(root.timeout),
        retries: inner.retries.or_else(|| root.retries.clone()),
        fault: inner.fault.or_else(|| root.fault.clone()),
        mirror: inner.mirror.or_else(|| root.mirror.clone()),
        mirrors: if inner.mirrors.is_empty() { root.mirrors.clone() } else { inner.mirrors },
        mirror_percent: inner.mirror_percent.or(root.mirror_percent),
        mirror_percentage: inner.mirror_percentage.or_else(|| root.mirror_percentage.clone()),
        cors_policy: inner.cors_policy.or_else(|| root.cors_policy.clone()),
        headers: inner.headers.or_else(|| root.headers.clone()),
        route: inner.route,
        redirect: inner.redirect,
        delegate: None,
    }
}

/// Every match of the delegate together with each of the root's that it lies within; `None` if one lies within none.
fn merge_matches(root: &[HttpMatchRequest], delegate: &[HttpMatchRequest]) -> Option<Vec<HttpMatchRequest>> {
    if root.is_empty() || delegate.is_empty() {
        return Some([root, delegate].concat());
    }
    let mut out = Vec::new();
    for inner in delegate {
        let before = out.len();
        out.extend(root.iter().filter(|outer| within(outer, inner)).map(|outer| merge_match(outer, inner)));
        if out.len() == before {
            return None;
        }
    }
    Some(out)
}

/// Both conditions: where the delegate says something, it is the narrower.
fn merge_match(root: &HttpMatchRequest, delegate: &HttpMatchRequest) -> HttpMatchRequest {
    let inner = delegate.clone();
    HttpMatchRequest {
        name: join(&root.name, &inner.name),
        uri: inner.uri.or_else(|| root.uri.clone()),
        scheme: inner.scheme.or_else(|| root.scheme.clone()),
        method: inner.method.or_else(|| root.method.clone()),
        authority: inner.authority.or_else(|| root.authority.clone()),
        headers: overlay(&root.headers, inner.headers),
        port: if inner.port == 0 { root.port } else { inner.port },
        source_labels: overlay(&root.source_labels, inner.source_labels),
        gateways: if inner.gateways.is_empty() { root.gateways.clone() } else { inner.gateways },
        query_params: overlay(&root.query_params, inner.query_params),
        ignore_uri_case: inner.ignore_uri_case,
        without_headers: overlay(&root.without_headers, inner.without_headers),
        source_namespace: if inner.source_namespace.is_empty() { root.source_namespace.clone() } else { inner.source_namespace },
        stat_prefix: if inner.stat_prefix.is_empty() { root.stat_prefix.clone() } else { inner.stat_prefix },
    }
}

/// Whether the delegate's match can stand within the root's (Istio's `hasConflict`, the other way round). What only one of
/// them names is no conflict, but for `ignoreUriCase`, and for `sourceNamespace` if the root names it.
fn within(root: &HttpMatchRequest, delegate: &HttpMatchRequest) -> bool {
    let texts = [
        (&root.uri, &delegate.uri),
        (&root.scheme, &delegate.scheme),
        (&root.method, &delegate.method),
        (&root.authority, &delegate.authority),
    ];
    let maps = [
        (&root.headers, &delegate.headers),
        (&root.without_headers, &delegate.without_headers),
        (&root.query_params, &delegate.query_params),
    ];
    texts.iter().all(|(outer, inner)| inner.as_ref().is_none_or(|inner| text_within(outer.as_ref(), inner)))
        && maps.iter().all(|(outer, inner)| inner.iter().all(|(key, inner)| text_within(outer.get(key), inner)))
        && root.ignore_uri_case == delegate.ignore_uri_case
        && (root.port == 0 || delegate.port == 0 || root.port == delegate.port)
        && (root.source_namespace.is_empty() || root.source_namespace == delegate.source_namespace)
        && delegate.source_labels.iter().all(|(key, inner)| root.source_labels.get(key).is_none_or(|outer| outer == inner))
        && (root.gateways.is_empty() || delegate.gateways.iter().all(|name| root.gateways.contains(name)))
}

/// Regular expressions cannot be compared, and a match for presence is no part of another: both count as conflicts.
fn text_within(root: Option<&StringMatch>, delegate: &StringMatch) -> bool {
    let Some(root) = root else { return true };
    match (root.matcher(), delegate.matcher()) {
        (Some(StringMatcher::Exact(outer)), Some(StringMatcher::Exact(inner))) => outer == inner,
        (Some(StringMatcher::Prefix(outer)), Some(StringMatcher::Exact(inner) | StringMatcher::Prefix(inner))) => inner.starts_with(outer),
        _ => false,
    }
}

fn overlay<T: Clone>(root: &BTreeMap<String, T>, delegate: BTreeMap<String, T>) -> BTreeMap<String, T> {
    let mut out = root.clone();
    out.extend(delegate);
    out
}

/// `root-delegate`, or the one that has a name.
fn join(root: &str, delegate: &str) -> String {
    let names: Vec<&str> = [root, delegate].into_iter().filter(|name| !name.is_empty()).collect();
    names.join("-")
}

#[cfg(test)]
mod tests;
