//! EnvoyFilters whose effect depends on what else there is (`IST0151`, `IST0155`), or whose operation does nothing
//! (`IST0152`, `IST0153`, `IST0154`).

use crate::{Mesh, code, mesh::rows, report::Report};
use base::ObjectRef;
use istio_api::networking::envoy_filter::{ApplyTo, EnvoyConfigObjectPatch, Patch, PatchOperation};
use std::collections::BTreeSet;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    // What patches for some versions of proxies are about, over all objects.
    let mut versioned = BTreeSet::new();
    for filter in rows(&mesh.store.envoy_filters) {
        for item in &filter.spec.config_patches {
            let Some(change) = &item.patch else { break };
            let subject = subject(item, change);
            // About the whole object, so that several patches of a kind are said once, as in Istio.
            let place = Place { object: filter.object_ref() };
            let relative = filter.spec.priority == 0;
            place.operation(item.apply_to, change.operation, relative, versioned.contains(&subject), report);
            let proxy = item.matches.as_ref().and_then(|matches| matches.proxy.as_ref());
            if proxy.is_some_and(|proxy| !proxy.proxy_version.is_empty()) {
                versioned.insert(subject);
            }
        }
    }
}

/// What a patch is about: the name in its value, or else that of the filter which it matches.
fn subject(item: &EnvoyConfigObjectPatch, change: &Patch) -> String {
    let Some(value) = &change.value else { return String::new() };
    if let Some(name) = value.get("name") {
        return name.to_string();
    }
    let chain = item.matches.as_ref().and_then(|matches| matches.listener.as_ref()?.filter_chain.as_ref());
    chain.and_then(|chain| chain.filter.as_ref()).map(|filter| filter.name.clone()).unwrap_or_default()
}

struct Place {
    object: ObjectRef,
}

impl Place {
    fn operation(self, apply_to: ApplyTo, operation: PatchOperation, relative: bool, versioned: bool, report: &mut Report) {
        let route = matches!(apply_to, ApplyTo::RouteConfiguration | ApplyTo::HttpRoute);
        // Istio's text has not followed: virtual hosts can be replaced, too.
        let filter = matches!(apply_to, ApplyTo::NetworkFilter | ApplyTo::HttpFilter | ApplyTo::VirtualHost);
        let ignored =
            |operation| format!("The {operation} operation will be ignored when applyTo is set to ROUTE_CONFIGURATION, or HTTP_ROUTE.");
        let (code, text) = match operation {
            PatchOperation::Add if route => (code::ENVOY_FILTER_USES_ADD_OPERATION_INCORRECTLY, ignored("ADD")),
            PatchOperation::Remove if route => (code::ENVOY_FILTER_USES_REMOVE_OPERATION_INCORRECTLY, ignored("REMOVE")),
            PatchOperation::Replace if !filter => (
                code::ENVOY_FILTER_USES_REPLACE_OPERATION_INCORRECTLY,
                "The REPLACE operation is only valid for HTTP_FILTER and NETWORK_FILTER.".to_owned(),
            ),
            PatchOperation::Remove | PatchOperation::Replace | PatchOperation::InsertBefore | PatchOperation::InsertAfter if relative => {
                if versioned {
                    (code::ENVOY_FILTER_USES_RELATIVE_OPERATION_WITH_PROXY_VERSION, WITH_VERSION.to_owned())
                } else {
                    (code::ENVOY_FILTER_USES_RELATIVE_OPERATION, RELATIVE.to_owned())
                }
            }
            _ => return,
        };
        report.add(code, self.object, "", text);
    }
}

const RELATIVE: &str = "This EnvoyFilter does not have a priority and has a relative patch operation set which can cause the EnvoyFilter not \
                        to be applied. Using the INSERT_FIRST of ADD option or setting the priority may help in ensuring the EnvoyFilter is \
                        applied correctly.";

const WITH_VERSION: &str = "This EnvoyFilter does not have a priority and has a relative patch operation (NSTERT_BEFORE/AFTER, REPLACE, \
                            MERGE, DELETE) and proxyVersion set which can cause the EnvoyFilter not to be applied during an upgrade. Using \
                            the INSERT_FIRST or ADD option or setting the priority may help in ensuring the EnvoyFilter is applied correctly.";
