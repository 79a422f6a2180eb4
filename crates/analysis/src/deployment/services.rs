//! Services that disagree about a port of the same pods (`IST0116`, `IST0137`).

use crate::{
    Mesh, code,
    foreign::DEPLOYMENT,
    mesh::rows,
    report::{Report, full_name, list},
    workload::in_mesh,
};
use istio_api::{IntOrString, Metadata, Object, kubernetes::service::Service};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The label of workloads that the control plane made for a waypoint.
const WAYPOINT: (&str, &str) = ("gateway.istio.io/managed", "istio.io-mesh-controller");

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for deployment in &mesh.foreign.deployments {
        let pod = Metadata { namespace: deployment.metadata.namespace.clone(), ..deployment.content.pod_metadata.clone() };
        if deployment.metadata.labels.get(WAYPOINT.0) == Some(WAYPOINT.1) || !in_mesh(mesh, &pod, &[&deployment.content.pod.containers]) {
            continue;
        }
        let own = |service: &&Arc<Object<Service>>| {
            let selector = &service.spec.selector;
            service.metadata.namespace == pod.namespace && !selector.is_empty() && pod.labels.contain(selector)
        };
        let services: Vec<_> = rows(&mesh.store.services).filter(own).collect();
        let name = &deployment.metadata.name;
        for (port, names) in protocols(&services) {
            let text = format!(
                "This deployment {name} is associated with multiple services using port {port} but different protocols: {}",
                list(names)
            );
            report.add(code::DEPLOYMENT_ASSOCIATED_TO_MULTIPLE_SERVICES, deployment.object_ref(DEPLOYMENT), "metadata.name", text);
        }
        for (target, names, ports) in targets(&services) {
            let text = format!(
                "This deployment {name} is associated with multiple services {} using targetPort {target:?} but different ports: {}.",
                list(names),
                list(ports)
            );
            report.add(code::DEPLOYMENT_CONFLICTING_PORTS, deployment.object_ref(DEPLOYMENT), "metadata.name", text);
        }
    }
}

/// Ports with several transport protocols, and the services that have them.
fn protocols(services: &[&Arc<Object<Service>>]) -> Vec<(i32, Vec<String>)> {
    let mut ports: BTreeMap<i32, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
    for service in services {
        for port in &service.spec.ports {
            let protocol = if port.protocol.is_empty() { "TCP" } else { port.protocol.as_str() };
            ports.entry(port.port).or_default().entry(protocol).or_default().push(full_name(&service.object_ref()));
        }
    }
    let several = ports.into_iter().filter(|(_, protocols)| protocols.len() > 1);
    several.map(|(port, protocols)| (port, sorted(protocols.into_values().flatten()))).collect()
}

/// Ports of the pods behind several ports, and the services that have them.
fn targets(services: &[&Arc<Object<Service>>]) -> Vec<(String, Vec<String>, BTreeSet<i32>)> {
    let mut targets: BTreeMap<String, BTreeMap<i32, String>> = BTreeMap::new();
    for service in services {
        for port in &service.spec.ports {
            let target = match &port.target_port {
                Some(IntOrString::Int(number)) if *number != 0 => number.to_string(),
                Some(IntOrString::String(name)) if !name.is_empty() => name.clone(),
                _ => port.port.to_string(),
            };
            targets.entry(target).or_default().insert(port.port, full_name(&service.object_ref()));
        }
    }
    let several = targets.into_iter().filter(|(_, ports)| ports.len() > 1);
    several.map(|(target, ports)| (target, sorted(ports.values().cloned()), ports.into_keys().collect())).collect()
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
