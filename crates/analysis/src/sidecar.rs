//! Sidecars that select no pod (`IST0101`), the same pod (`IST0110`), all pods twice (`IST0111`), or pods without a sidecar
//! (`IST0167`).

use crate::{
    Mesh, code,
    mesh::rows,
    report::{Report, list},
    selector::{self, first_label},
    workload::pods,
};
use base::{Labels, ObjectRef};
use istio_api::Metadata;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let mut by_pod: BTreeMap<(String, String), Vec<ObjectRef>> = BTreeMap::new();
    let mut by_namespace: BTreeMap<String, Vec<ObjectRef>> = BTreeMap::new();
    let mut ambient = BTreeSet::new();
    for object in rows(&mesh.store.sidecars) {
        let labels = object.spec.workload_selector.as_ref().map(|selector| &selector.labels).filter(|labels| !labels.is_empty());
        let Some(labels) = labels else {
            by_namespace.entry(object.metadata.namespace.to_string()).or_default().push(object.object_ref());
            continue;
        };
        let own = |metadata: &Metadata| metadata.namespace == object.metadata.namespace && metadata.labels.contain(labels);
        let mut selected = pods(mesh).filter(|pod| own(&pod.metadata)).peekable();
        if selected.peek().is_none() {
            let field = first_label("spec.workloadSelector.labels", labels);
            report.not_found(object.object_ref(), field, "selector", &selector::text(labels));
        }
        for pod in selected {
            if pod.metadata.annotations.get("ambient.istio.io/redirection").is_some_and(|value| value == "enabled") {
                ambient.insert(object.object_ref());
            } else {
                let key = (pod.metadata.namespace.to_string(), pod.metadata.name.to_string());
                by_pod.entry(key).or_default().push(object.object_ref());
            }
        }
    }
    for object in ambient {
        ineffective(object, "selected workload is in ambient mode, the policy has no impact", report);
    }
    for ((namespace, pod), objects) in by_pod.iter().filter(|(_, objects)| objects.len() > 1) {
        let names = list(objects.iter().map(|object| &object.name));
        for object in objects {
            let text = format!(
                "The Sidecars {names} in namespace {namespace:?} select the same workload pod {pod:?}, which can lead to undefined behavior."
            );
            report.add(code::CONFLICTING_SIDECAR_WORKLOAD_SELECTORS, object.clone(), "metadata.name", text);
        }
    }
    for (namespace, objects) in by_namespace {
        whole_namespace(mesh, &namespace, objects, report);
    }
}

fn whole_namespace(mesh: &Mesh<'_>, namespace: &str, objects: Vec<ObjectRef>, report: &mut Report) {
    if mesh.namespace_labels(namespace).is_some_and(is_ambient) {
        for object in objects {
            ineffective(object, "namespace is in ambient mode, the policy has no impact", report);
        }
    } else if objects.len() > 1 {
        let names = list(objects.iter().map(|object| &object.name));
        for object in objects {
            let text =
                format!("The Sidecars {names} in namespace {namespace:?} have no workload selector, which can lead to undefined behavior.");
            report.add(code::MULTIPLE_SIDECARS_WITHOUT_WORKLOAD_SELECTORS, object, "", text);
        }
    }
}

fn ineffective(object: ObjectRef, reason: &str, report: &mut Report) {
    report.add(code::INEFFECTIVE_POLICY, object, "", format!("The policy has no impact: {reason}."));
}

/// Whether pods of the namespace have no sidecars by default, but are captured on their node.
pub(crate) fn is_ambient(labels: &Labels) -> bool {
    let injected =
        labels.get("istio-injection") == Some("enabled") || labels.get("istio.io/rev").is_some_and(|revision| !revision.is_empty());
    !injected && labels.get("istio.io/dataplane-mode") == Some("ambient")
}
