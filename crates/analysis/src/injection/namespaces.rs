//! Namespaces that are not injected (`IST0102`), by default (`IST0148`) or in two ways (`IST0123`), and pods in injected
//! ones that have no proxy (`IST0103`).

use super::{INJECTION, REVISION, config_map};
use crate::{
    Mesh, code,
    mesh::rows,
    report::{Report, full_name, list},
    workload::{INJECT, PROXY, is_system_namespace, pods},
};
use serde_json::Value;
use std::collections::BTreeSet;

const DATAPLANE: &str = "istio.io/dataplane-mode";

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let mut injected = BTreeSet::new();
    for object in rows(&mesh.store.namespaces) {
        let (name, labels) = (&*object.metadata.name, &object.metadata.labels);
        if name == "istio-system" || is_system_namespace(name) {
            continue;
        }
        let (injection, revision) = (labels.get(INJECTION), labels.get(REVISION));
        let others = [REVISION, DATAPLANE].into_iter().filter(|_| injection.is_none_or(|value| value == "enabled"));
        let all: Vec<String> =
            std::iter::once(INJECTION).chain(others).filter_map(|key| Some(format!("{key}={}", labels.get(key)?))).collect();
        if all.len() > 1 {
            let text = format!(
                "The namespace has more than one type of injection labels {}, which may lead to undefined behavior. Make sure only one \
                 injection label exists.",
                list(all)
            );
            report.add(code::NAMESPACE_MULTIPLE_INJECTION_LABELS, object.object_ref(), "metadata.labels", text);
        }
        if labels.get(DATAPLANE) == Some("ambient") {
            continue;
        }
        if injection.unwrap_or_default().is_empty() && revision.is_none() {
            if by_default(mesh, revision.unwrap_or_default()) {
                let text = "is enabled for Istio injection, as Istio is installed with enableNamespacesByDefault as true.";
                report.add(code::NAMESPACE_INJECTION_ENABLED_BY_DEFAULT, object.object_ref(), "", text);
            } else {
                let text = format!(
                    "The namespace is not enabled for Istio injection. Run 'kubectl label namespace {name} istio-injection=enabled' to \
                     enable it, or 'kubectl label namespace {name} istio-injection=disabled' to explicitly mark it as not needing injection."
                );
                report.add(code::NAMESPACE_NOT_INJECTED, object.object_ref(), "metadata.name", text);
            }
            continue;
        }
        if revision.is_some() || injection == Some("enabled") {
            injected.insert(name);
        }
    }
    let expected = pods(mesh).filter(|pod| injected.contains(pod.metadata.namespace.as_str()) && !pod.spec.host_network);
    for pod in expected {
        let wish = pod.metadata.labels.get(INJECT).or_else(|| pod.metadata.annotations.get(INJECT).map(String::as_str));
        let containers = || pod.spec.containers.iter().chain(&pod.spec.init_containers);
        let proxy = containers().any(|container| container.name == PROXY && !container.image.is_empty());
        if !proxy && !wish.is_some_and(|wish| wish.eq_ignore_ascii_case("false")) {
            let text = format!(
                "The pod {} is missing the Istio proxy. This can often be resolved by restarting or redeploying the workload.",
                full_name(&pod.object_ref())
            );
            report.add(code::POD_MISSING_PROXY, pod.object_ref(), "", text);
        }
    }
}

/// Whether the injector takes namespaces without label.
fn by_default(mesh: &Mesh<'_>, revision: &str) -> bool {
    let name = config_map(revision);
    let values = rows(&mesh.store.config_maps).find(|map| *map.metadata.name == *name).and_then(|map| map.spec.data.get("values"));
    let values = values.and_then(|text| serde_json::from_str::<Value>(text).ok());
    values.and_then(|values| values.pointer("/sidecarInjectorWebhook/enableNamespacesByDefault")?.as_bool()).unwrap_or_default()
}
