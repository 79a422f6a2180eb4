//! Hosts that are no service (`IST0174`), and subsets without a pod (`IST0173`).

use crate::{Mesh, code, host::KnownHosts, mesh::rows, report::Report, workload::pods};
use istio_api::{
    Object,
    kubernetes::{node::Node, pod},
};

/// What a pod inherits from its node.
const FROM_NODE: [&str; 3] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let hosts = KnownHosts::of(mesh);
    let node = |pod: &pod::Pod| mesh.find(&mesh.store.nodes, "", &pod.node_name).map(|node| &**node);
    let pods: Vec<Pod<'_>> = pods(mesh).map(|pod| Pod { pod, node: node(&pod.spec) }).collect();
    for rule in rows(&mesh.store.destination_rules) {
        let Some(known) = hosts.find(&rule.metadata.namespace, &rule.spec.export_to, &rule.spec.host) else {
            let text = format!("The host {} defined in the DestinationRule does not match any services in the mesh.", rule.spec.host);
            report.add(code::UNKNOWN_DESTINATION_RULE_HOST, rule.object_ref(), "spec.host", text);
            continue;
        };
        for (index, subset) in rule.spec.subsets.iter().enumerate() {
            let mut wanted = known.selector.iter().chain(&subset.labels);
            let chosen = pods.iter().any(|pod| wanted.clone().all(|(key, value)| pod.label(key) == Some(value)));
            if !chosen && wanted.next().is_some() | pods.is_empty() {
                let text = format!(
                    "The Subset {} defined in the DestinationRule does not select any pods. Which may lead to 503 UH (NoHealthyUpstream).",
                    subset.name
                );
                report.add(code::DESTINATION_RULE_SUBSET_NOT_SELECT_PODS, rule.object_ref(), format!("spec.subsets[{index}]"), text);
            }
        }
    }
}

/// A pod, whose labels are read with those of its node.
struct Pod<'a> {
    pod: &'a Object<pod::Pod>,
    node: Option<&'a Object<Node>>,
}

impl Pod<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        let own = || self.pod.metadata.labels.get(key);
        let Some(node) = self.node else { return own() };
        match key {
            "kubernetes.io/hostname" => Some(&self.pod.spec.node_name),
            key if FROM_NODE.contains(&key) => node.metadata.labels.get(key).or_else(own),
            _ => own(),
        }
    }
}
