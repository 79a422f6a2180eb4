//! What users should know about their objects together: references that lead nowhere.

use crate::Snapshot;
use base::{Diagnostic, Hostname, ObjectRef};
use std::collections::BTreeMap;

/// Everything that is to be said about the snapshot.
pub fn all(snapshot: &Snapshot) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    destinations(snapshot, &mut out);
    gateways(snapshot, &mut out);
    out.extend(snapshot.virtual_services.all.iter().flat_map(|vs| vs.findings.iter().cloned()));
    out
}

/// A destination or subset that does not exist answers every request with 503 or 500. What a delegate brings along is said
/// of the delegate, where it is to be mended.
fn destinations(snapshot: &Snapshot, out: &mut Vec<Diagnostic>) {
    let rows = &snapshot.virtual_services.all;
    let delegates: BTreeMap<&ObjectRef, _> = rows.iter().filter(|vs| vs.is_delegate()).map(|vs| (&vs.origin, vs)).collect();
    for vs in rows {
        let brought: Vec<_> = vs.delegates.iter().filter_map(|name| delegates.get(name)).flat_map(|vs| vs.destinations()).collect();
        for destination in vs.destinations().filter(|destination| !brought.contains(destination)) {
            let host = Hostname::new(&destination.host);
            let Some(service) = snapshot.service_named(&host, &vs.namespace) else {
                let text = format!("the destination {host} is no service; declare it with a Service or ServiceEntry, or mend the name");
                out.push(Diagnostic::error("IST0101", Some(vs.origin.clone()), "spec", text));
                continue;
            };
            if destination.subset.is_empty() {
                continue;
            }
            let rule = snapshot.destination_rules.lookup(&vs.namespace, &Default::default(), &snapshot.root_namespace(), service);
            if !rule.is_some_and(|rule| rule.spec.subsets.iter().any(|subset| subset.name == destination.subset)) {
                let text =
                    format!("no DestinationRule defines the subset {} of {host}; add it there, or route without it", destination.subset);
                out.push(Diagnostic::error("IST0101", Some(vs.origin.clone()), "spec", text));
            }
        }
    }
}

/// A gateway that does not exist binds the rule to nothing.
fn gateways(snapshot: &Snapshot, out: &mut Vec<Diagnostic>) {
    let known = |name: &str| {
        name == crate::MESH_GATEWAY || snapshot.gateways.iter().any(|g| name == format!("{}/{}", g.metadata.namespace, g.metadata.name))
    };
    for vs in &snapshot.virtual_services.all {
        for gateway in vs.gateways.iter().filter(|name| !known(name)) {
            let text = format!(
                "the gateway {gateway} does not exist; create it, or mend the name (a name without a namespace is one of {})",
                vs.namespace
            );
            out.push(Diagnostic::error("IST0101", Some(vs.origin.clone()), "spec.gateways", text));
        }
    }
}
