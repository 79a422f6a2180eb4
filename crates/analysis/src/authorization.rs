//! AuthorizationPolicies that are about no workload (`IST0127`) or name a namespace that does not exist (`IST0101`).

use crate::{
    Mesh, code,
    mesh::rows,
    report::Report,
    selector,
    workload::{in_mesh, pods},
};
use base::Labels;
use istio_api::{Object, security::authorization_policy::AuthorizationPolicy};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let members = |pod: &&std::sync::Arc<Object<istio_api::kubernetes::pod::Pod>>| {
        in_mesh(mesh, &pod.metadata, &[&pod.spec.containers, &pod.spec.init_containers])
    };
    let known: Vec<(&str, &Labels)> =
        pods(mesh).filter(members).map(|pod| (pod.metadata.namespace.as_str(), &pod.metadata.labels)).collect();
    for policy in rows(&mesh.store.authorization_policies) {
        workloads(mesh, policy, &known, report);
        namespaces(mesh, policy, report);
    }
}

fn workloads(mesh: &Mesh<'_>, policy: &Object<AuthorizationPolicy>, known: &[(&str, &Labels)], report: &mut Report) {
    let own = policy.metadata.namespace.as_str();
    let everywhere = own == mesh.store.mesh.root_namespace;
    let labels = policy.spec.selector.as_ref().map(|selector| &selector.match_labels);
    if everywhere && labels.is_none() || policy.spec.target_ref.is_some() || !policy.spec.target_refs.is_empty() {
        return;
    }
    let near = known.iter().filter(|(namespace, _)| everywhere || *namespace == own);
    let mut chosen = near.filter(|(_, pod)| labels.is_none_or(|labels| pod.contain(labels)));
    if chosen.next().is_none() {
        let shown = labels.map(selector::text).unwrap_or_default();
        let text = format!("No matching workloads for this resource with the following labels: {shown}");
        report.add(code::NO_MATCHING_WORKLOADS_FOUND, policy.object_ref(), "spec.selector", text);
    }
}

fn namespaces(mesh: &Mesh<'_>, policy: &Object<AuthorizationPolicy>, report: &mut Report) {
    for (rule, item) in policy.spec.rules.iter().enumerate() {
        for (from, item) in item.from.iter().enumerate() {
            let Some(source) = &item.source else { continue };
            for (list, names) in [("namespaces", &source.namespaces), ("notNamespaces", &source.not_namespaces)] {
                for (index, name) in names.iter().enumerate() {
                    if !rows(&mesh.store.namespaces).any(|namespace| fits(&namespace.metadata.name, name)) {
                        let field = format!("spec.rules[{rule}].from[{from}].source.{list}[{index}]");
                        report.not_found(policy.object_ref(), field, "namespace", name);
                    }
                }
            }
        }
    }
}

/// Whether a namespace fits the text, which may have a star at one end.
fn fits(namespace: &str, text: &str) -> bool {
    match (text.strip_prefix('*'), text.strip_suffix('*')) {
        (Some(suffix), _) => namespace.ends_with(suffix),
        (None, Some(prefix)) => namespace.starts_with(prefix),
        (None, None) => namespace.eq_ignore_ascii_case(text),
    }
}
