//! Hosts that are no service (`IST0174`), and subsets without a pod (`IST0173`).

use crate::{Mesh, code, host::KnownHosts, mesh::rows, report::Report, workload::pods};
use istio_api::{Object, kubernetes::pod::Pod};
use std::collections::BTreeMap;

/// What a pod inherits from its node.
const FROM_NODE: [&str; 3] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let hosts = KnownHosts::of(mesh);
    let labels: Vec<BTreeMap<String, String>> = pods(mesh).map(|pod| labels(mesh, pod)).collect();
    for rule in rows(&mesh.store.destination_rules) {
        let Some(known) = hosts.find(&rule.metadata.namespace, &rule.spec.export_to, &rule.spec.host) else {
            let text = format!("The host {} defined in the DestinationRule does not match any services in the mesh.", rule.spec.host);
            report.add(code::UNKNOWN_DESTINATION_RULE_HOST, rule.object_ref(), "spec.host", text);
            continue;
        };
        for (index, subset) in rule.spec.subsets.iter().enumerate() {
            let mut wanted = known.selector.iter().chain(&subset.labels);
            let chosen = labels.iter().any(|labels| wanted.clone().all(|(key, value)| labels.get(key) == Some(value)));
            if !chosen && wanted.next().is_some() | labels.is_empty() {
                let text = format!(
                    "The Subset {} defined in the DestinationRule does not select any pods. Which may lead to 503 UH (NoHealthyUpstream).",
                    subset.name
                );
                report.add(code::DESTINATION_RULE_SUBSET_NOT_SELECT_PODS, rule.object_ref(), format!("spec.subsets[{index}]"), text);
            }
        }
    }
}

/// The labels of a pod with those of its node.
fn labels(mesh: &Mesh<'_>, pod: &Object<Pod>) -> BTreeMap<String, String> {
    let mut labels = (*pod.metadata.labels.0).clone();
    let Some(node) = mesh.find(&mesh.store.nodes, "", &pod.spec.node_name) else { return labels };
    labels.extend(FROM_NODE.iter().filter_map(|key| Some(((*key).to_owned(), node.metadata.labels.get(key)?.to_owned()))));
    labels.insert("kubernetes.io/hostname".into(), pod.spec.node_name.clone());
    labels
}
