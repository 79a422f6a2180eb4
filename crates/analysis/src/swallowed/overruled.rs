//! DestinationRules that no client uses, or of which an older one for the same host takes the place.

use crate::{Mesh, code, mesh::rows, report::Report, selector, workload::pods};
use base::ObjectRef;
use istio_api::{Object, networking::destination_rule::DestinationRule};
use model::{MergedRule, Snapshot};
use std::collections::BTreeMap;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let Some(snapshot) = mesh.snapshot else { return };
    let objects: BTreeMap<ObjectRef, _> = rows(&mesh.store.destination_rules).map(|rule| (rule.object_ref(), rule)).collect();
    for merged in snapshot.destination_rules.iter() {
        younger(merged, &objects, report);
    }
}

pub(crate) fn without_clients(mesh: &Mesh<'_>, report: &mut Report) {
    let Some(snapshot) = mesh.snapshot else { return };
    snapshot.destination_rules.iter().for_each(|merged| without_client(mesh, snapshot, merged, report));
}

/// What merging has dropped of the younger rules.
fn younger(merged: &MergedRule, objects: &BTreeMap<ObjectRef, &std::sync::Arc<Object<DestinationRule>>>, report: &mut Report) {
    for (index, origin) in merged.origins.iter().enumerate() {
        let Some(own) = objects.get(origin) else { continue };
        let older: Vec<_> = merged.origins.iter().take(index).filter_map(|origin| objects.get(origin)).collect();
        if let Some(first) = older.iter().find(|older| older.spec.traffic_policy.is_some()).filter(|_| own.spec.traffic_policy.is_some()) {
            let text = format!(
                "the older {} has a trafficPolicy for {} too, which is used in place of this one; put both into one object",
                first.object_ref(),
                merged.host
            );
            report.add(code::DESTINATION_RULE_OVERRULED, origin.clone(), "spec.trafficPolicy", text);
        }
        for (number, subset) in own.spec.subsets.iter().enumerate() {
            let Some(first) = older.iter().find(|older| older.spec.subsets.iter().any(|other| other.name == subset.name)) else { continue };
            let text = format!(
                "the older {} defines the subset {} of {} too, which is used in place of this one; rename one of the two",
                first.object_ref(),
                subset.name,
                merged.host
            );
            report.add(code::DESTINATION_RULE_OVERRULED, origin.clone(), format!("spec.subsets[{number}]"), text);
        }
    }
}

/// A rule for workloads that do not exist, or of a namespace without workloads that is not the service's own.
fn without_client(mesh: &Mesh<'_>, snapshot: &Snapshot, merged: &MergedRule, report: &mut Report) {
    let own = || pods(mesh).filter(|pod| pod.metadata.namespace == merged.namespace);
    let Some(origin) = merged.origins.first() else { return };
    if let Some(wanted) = &merged.spec.workload_selector {
        if !own().any(|pod| pod.metadata.labels.contain(&wanted.match_labels)) {
            let text = format!(
                "no pod in {} has the labels {}, so that no client uses the rule for {}; mend the labels, or leave the selector out",
                merged.namespace,
                selector::text(&wanted.match_labels),
                merged.host
            );
            report.add(code::DESTINATION_RULE_NOT_USED, origin.clone(), "spec.workloadSelector", text);
        }
        return;
    }
    let covered = |service: &&std::sync::Arc<registry::Service>| service.key.hostname.subset_of(&merged.host);
    let Some(service) = snapshot.services_by_age.iter().find(covered) else { return };
    let of_service = snapshot.services_by_age.iter().filter(covered).any(|service| service.key.namespace == merged.namespace);
    if merged.namespace != snapshot.root_namespace() && !of_service && own().next().is_none() {
        let text = format!(
            "a rule in {} is for clients of that namespace, which has none, since {} belongs to {}; move the rule there, or to {}",
            merged.namespace,
            service.origin,
            service.key.namespace,
            snapshot.root_namespace()
        );
        report.add(code::DESTINATION_RULE_NOT_USED, origin.clone(), "metadata.namespace", text);
    }
}
