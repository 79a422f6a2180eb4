//! EnvoyFilter (Istio's `ValidateEnvoyFilter`), as far as it needs no type of Envoy.

use crate::{
    amount::regex,
    report::{Field, Report, each},
    selector::{self, selector_labels},
};
use istio_api::networking::envoy_filter::{
    ApplyTo, EnvoyConfigObject, EnvoyConfigObjectMatch, EnvoyConfigObjectPatch, EnvoyFilter, PatchContext, PatchOperation,
};

pub(crate) fn validate(report: &mut Report, filter: &EnvoyFilter) {
    let at = Field::Root("spec");
    if let Some(workloads) = &filter.workload_selector {
        let at = at.key("workloadSelector");
        if workloads.labels.is_empty() {
            report.warning(&at, "Envoy filter: workload selector specified without labels, will be applied to all services in namespace");
        }
        selector_labels(report, &at.key("labels"), &workloads.labels);
        if !filter.target_refs.is_empty() {
            report.error(&at, "only one of targetRefs or workloadSelector can be set");
        }
    }
    each(report, &at, "targetRefs", &filter.target_refs, selector::reference);
    each(report, &at, "configPatches", &filter.config_patches, patch);
}

fn patch(report: &mut Report, at: &Field<'_>, patch: &EnvoyConfigObjectPatch) {
    if patch.apply_to == ApplyTo::Invalid {
        report.error(&at.key("applyTo"), "Envoy filter: missing applyTo");
    }
    match &patch.patch {
        None => report.error(&at.key("patch"), "Envoy filter: missing patch"),
        Some(change) => {
            let at = at.key("patch");
            if change.operation == PatchOperation::Invalid {
                report.error(&at.key("operation"), "Envoy filter: missing patch operation");
            }
            if change.operation != PatchOperation::Remove && change.value.is_none() {
                report.error(&at.key("value"), "Envoy filter: missing patch value for non-remove operation");
            }
        }
    }
    if let Some(matches) = &patch.matches {
        object_match(report, &at.key("match"), patch.apply_to, matches);
    }
}

fn object_match(report: &mut Report, at: &Field<'_>, apply_to: ApplyTo, matches: &EnvoyConfigObjectMatch) {
    if let Some(proxy) = &matches.proxy
        && !proxy.proxy_version.is_empty()
    {
        regex(report, &at.key("proxy").key("proxyVersion"), "proxyVersion", &proxy.proxy_version);
    }
    let is_waypoint = matches!(matches.object(), Some(EnvoyConfigObject::Waypoint(_)));
    if is_waypoint && matches.context != PatchContext::Waypoint {
        report.error(&at.key("context"), "Envoy filter: waypoint match is only supported with context WAYPOINT");
    }
    if let Some(EnvoyConfigObject::Waypoint(waypoint)) = matches.object()
        && waypoint.port_number > 65535
    {
        report.error(&at.key("waypoint").key("portNumber"), "port must be between 1-65535");
    }
    let (object, fits) = match matches.object() {
        None => return,
        Some(EnvoyConfigObject::Listener(_)) => ("listener", ON_LISTENERS.contains(&apply_to)),
        Some(EnvoyConfigObject::RouteConfiguration(_)) => ("routeConfiguration", ON_ROUTES.contains(&apply_to)),
        Some(EnvoyConfigObject::Cluster(_)) => ("cluster", apply_to == ApplyTo::Cluster),
        Some(EnvoyConfigObject::Waypoint(_)) => ("waypoint", true),
    };
    let anywhere = matches!(apply_to, ApplyTo::Invalid | ApplyTo::ExtensionConfig | ApplyTo::Bootstrap);
    if !fits && !anywhere {
        report.error(&at.key(object), format!("Envoy filter: applyTo {} cannot have {object} match", apply_to.as_str()));
    }
}

/// What stands in listeners.
const ON_LISTENERS: [ApplyTo; 5] =
    [ApplyTo::Listener, ApplyTo::FilterChain, ApplyTo::NetworkFilter, ApplyTo::HttpFilter, ApplyTo::ListenerFilter];
/// What stands in route configurations.
const ON_ROUTES: [ApplyTo; 3] = [ApplyTo::RouteConfiguration, ApplyTo::VirtualHost, ApplyTo::HttpRoute];
