//! Labels, workload selectors, target references and `exportTo`.

use crate::{
    host::is_label,
    report::{Field, Report, each},
};
use istio_api::selector::{PolicyTargetReference, WorkloadSelector};
use std::collections::{BTreeMap, BTreeSet};

/// Checks labels (Kubernetes' syntax of keys and values).
pub(crate) fn labels(report: &mut Report, at: &Field<'_>, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        let at = at.key(key);
        let (prefix, name) = key.rsplit_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if !is_label_part(name) || prefix.is_some_and(|prefix| !prefix.split('.').all(is_label)) {
            report.error(&at, format!("invalid tag key: {key:?}"));
        }
        if !value.is_empty() && !is_label_part(value) {
            report.error(&at, format!("invalid tag value: {value:?}"));
        }
    }
}

/// The name of a label's key, or its value: up to 63 letters, digits, `-`, `_` and `.`, not at the ends.
fn is_label_part(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Checks the labels of a selector.
pub(crate) fn selector_labels(report: &mut Report, at: &Field<'_>, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        if key.is_empty() {
            report.error(at, format!("empty key is not supported in selector: \"{key}={value}\""));
        }
        if key.contains('*') || value.contains('*') {
            report.error(at, format!("wildcard is not supported in selector: \"{key}={value}\""));
        }
    }
}

/// Checks a selector of policies and DestinationRules.
pub(crate) fn workload_selector(report: &mut Report, at: &Field<'_>, selector: Option<&WorkloadSelector>) {
    let Some(selector) = selector else { return };
    if selector.match_labels.is_empty() {
        report.warning(at, "workload selector specified without labels; leave it out to select all workloads");
    }
    selector_labels(report, &at.key("matchLabels"), &selector.match_labels);
}

/// Group and kind that a policy may target, as messages name them.
const TARGETS: [(&str, &str, &str); 4] = [
    ("", "Service", "core/v1/Service"),
    ("networking.istio.io", "ServiceEntry", "networking.istio.io/v1/ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway", "gateway.networking.k8s.io/v1/Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass", "gateway.networking.k8s.io/v1/GatewayClass"),
];

/// Checks what a policy is attached to: a selector or targets.
pub(crate) fn attachment(
    report: &mut Report,
    at: &Field<'_>,
    selector: Option<&WorkloadSelector>,
    target: Option<&PolicyTargetReference>,
    targets: &[PolicyTargetReference],
) {
    workload_selector(report, &at.key("selector"), selector);
    if let Some(target) = target {
        reference(report, &at.key("targetRef"), target);
    }
    each(report, at, "targetRefs", targets, reference);
    if target.is_some() && !targets.is_empty() {
        report.error(&at.key("targetRefs"), "only one of targetRef or targetRefs can be set");
    }
    if selector.is_some() && (target.is_some() || !targets.is_empty()) {
        report.error(&at.key("selector"), "only one of targetRefs or workloadSelector can be set");
    }
}

pub(crate) fn reference(report: &mut Report, at: &Field<'_>, target: &PolicyTargetReference) {
    if target.name.is_empty() {
        report.error(at, "targetRef name must be set");
    }
    if !target.namespace.is_empty() {
        report.error(at, "targetRef namespace must not be set; cross namespace referencing is not supported");
    }
    let group = if target.group == "core" { "" } else { &target.group };
    if !TARGETS.iter().any(|(known, kind, _)| *known == group && *kind == target.kind) {
        let allowed: Vec<&str> = TARGETS.iter().map(|(_, _, name)| *name).collect();
        report.error(at, format!("targetRef must be to one of [{}] but was {}/{}", allowed.join(" "), target.group, target.kind));
    }
}

/// Which object an `exportTo` belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exported {
    ServiceEntry,
    DestinationRuleWithSelector,
    Other,
}

/// Checks `exportTo` of an object in `namespace`.
pub(crate) fn export_to(report: &mut Report, at: &Field<'_>, namespace: &str, entries: &[String], exported: Exported) {
    let at = at.key("exportTo");
    let mut seen = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = at.index(index);
        let key = if entry == "." { namespace } else { entry };
        if seen.contains(key) {
            if key == entry {
                report.error(&at, format!("duplicate entries in exportTo for entry {entry}"));
            } else {
                report.error(&at, format!("duplicate entries in exportTo: . and current namespace {namespace}"));
            }
        } else if key == "*" || key == "~" && exported == Exported::ServiceEntry || is_label(key) {
            seen.insert(key);
        } else {
            report.error(&at, "only .,*, or a valid DNS 1123 label is allowed as exportTo entry");
        }
    }
    if exported == Exported::DestinationRuleWithSelector && !seen.is_empty() {
        if !seen.contains(namespace) {
            report.error(&at, "destination rule with workload selector cannot have exportTo beyond current namespace; write \".\"");
        } else if seen.len() > 1 {
            report.error(&at, "destination rule with workload selector cannot have multiple entries in exportTo; keep \".\"");
        }
    }
    if entries.len() > 1 && seen.contains("*") {
        report.error(&at, "cannot have both public (*) and non-public exportTo values for a resource; keep \"*\" or the namespaces");
    }
    if entries.len() > 1 && seen.contains("~") {
        report.error(&at, "cannot export service entry to no one (~) and someone");
    }
}
