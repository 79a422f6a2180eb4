//! Telemetries without provider (`IST0157`), that select no pod (`IST0101`), the same pod (`IST0159`) or all pods twice
//! (`IST0160`), and a provider that is going (`IST0002`).

use crate::{
    Mesh, code,
    mesh::rows,
    report::{Report, list},
    selector::{self, first_label},
    workload::pods,
};
use base::ObjectRef;
use istio_api::Metadata;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn providers(mesh: &Mesh<'_>, report: &mut Report) {
    let defaults = mesh.store.mesh.default_providers.as_ref();
    if defaults.is_some_and(|providers| !providers.access_logging.is_empty()) {
        return;
    }
    for object in rows(&mesh.store.telemetries) {
        for (index, log) in object.spec.access_logging.iter().enumerate() {
            if log.disabled != Some(true) && log.providers.is_empty() {
                let (name, namespace) = (&object.metadata.name, object.metadata.namespace.as_str());
                let text = format!("The Telemetry {name} in namespace {namespace:?} with empty providers will be ignored.");
                report.add(code::INVALID_TELEMETRY_PROVIDER, object.object_ref(), format!("spec.accessLogging[{index}]"), text);
            }
        }
    }
}

pub(crate) fn selectors(mesh: &Mesh<'_>, report: &mut Report) {
    let mut by_pod: BTreeMap<(String, String), Vec<ObjectRef>> = BTreeMap::new();
    for object in rows(&mesh.store.telemetries) {
        let labels = object.spec.selector.as_ref().map(|selector| &selector.match_labels).filter(|labels| !labels.is_empty());
        let Some(labels) = labels else { continue };
        let own = |metadata: &Metadata| metadata.namespace == object.metadata.namespace && metadata.labels.contain(labels);
        let mut selected = pods(mesh).filter(|pod| own(&pod.metadata)).peekable();
        if selected.peek().is_none() {
            report.not_found(object.object_ref(), first_label("spec.selector.matchLabels", labels), "selector", &selector::text(labels));
        }
        for pod in selected {
            by_pod.entry((pod.metadata.namespace.to_string(), pod.metadata.name.to_string())).or_default().push(object.object_ref());
        }
    }
    for ((namespace, pod), objects) in by_pod.iter().filter(|(_, objects)| objects.len() > 1) {
        let names = list(objects.iter().map(|object| &object.name));
        for object in objects {
            let text = format!(
                "The Telemetries {names} in namespace {namespace:?} select the same workload pod {pod:?}, which can lead to undefined \
                 behavior."
            );
            report.add(code::CONFLICTING_TELEMETRY_WORKLOAD_SELECTORS, object.clone(), "metadata.name", text);
        }
    }
}

pub(crate) fn without_selector(mesh: &Mesh<'_>, report: &mut Report) {
    let mut by_namespace: BTreeMap<&str, Vec<ObjectRef>> = BTreeMap::new();
    for object in rows(&mesh.store.telemetries).filter(|object| object.spec.selector.is_none()) {
        by_namespace.entry(object.metadata.namespace.as_str()).or_default().push(object.object_ref());
    }
    for (namespace, objects) in by_namespace.into_iter().filter(|(_, objects)| objects.len() > 1) {
        let names = list(objects.iter().map(|object| &object.name));
        for object in objects {
            let text = format!(
                "The Telemetries {names} in namespace {namespace:?} have no workload selector, which can lead to undefined behavior."
            );
            report.add(code::MULTIPLE_TELEMETRIES_WITHOUT_WORKLOAD_SELECTORS, object, "", text);
        }
    }
}

pub(crate) fn lightstep(mesh: &Mesh<'_>, report: &mut Report) {
    let providers = mesh.store.mesh.extension_providers.iter().filter(|provider| provider.lightstep.is_some());
    let names: BTreeSet<&str> = providers.map(|provider| provider.name.as_str()).collect();
    for object in rows(&mesh.store.telemetries) {
        for (index, tracing) in object.spec.tracing.iter().enumerate() {
            for provider in tracing.providers.iter().filter(|provider| names.contains(provider.name.as_str())) {
                let text = format!(
                    "Deprecated: The Lightstep provider {} is deprecated, please migrate to OpenTelemetry provider.",
                    provider.name
                );
                report.add(code::DEPRECATED, object.object_ref(), format!("spec.tracing[{index}].providers"), text);
            }
        }
    }
}
