//! Gateways for the same workload, port and host (`IST0145`).

use crate::{
    Mesh, code,
    mesh::rows,
    report::{Report, full_name},
    selector,
    workload::pods,
};
use istio_api::networking::gateway::{Gateway, Server};
use std::collections::BTreeMap;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let gateways: Vec<_> = rows(&mesh.store.gateways).collect();
    for gateway in &gateways {
        let others: Vec<_> = gateways
            .iter()
            .filter(|other| other.object_ref() != gateway.object_ref() && together(mesh, &gateway.spec, &other.spec))
            .collect();
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let mut names: Vec<String> = others
                .iter()
                .filter(|other| other.spec.servers.iter().any(|other| collide(server, other)))
                .map(|other| full_name(&other.object_ref()))
                .collect();
            names.sort();
            if !names.is_empty() {
                let text = format!(
                    "Conflict with gateways {} (workload selector {}, port {}, hosts {}).",
                    names.join(","),
                    selector::text(&gateway.spec.selector),
                    number(server),
                    server.hosts.join(",")
                );
                report.add(code::CONFLICTING_GATEWAYS, gateway.object_ref(), format!("spec.servers[{index}]"), text);
            }
        }
    }
}

/// Whether the two are served by one workload: their selectors are equal, or the text of one is part of the other's and
/// there is a pod that both select.
fn together(mesh: &Mesh<'_>, one: &Gateway, other: &Gateway) -> bool {
    let text = |labels: &BTreeMap<String, String>| selector::text(labels);
    let (first, second) = (text(&one.selector), text(&other.selector));
    let both = || pods(mesh).any(|pod| pod.metadata.labels.contain(&one.selector) && pod.metadata.labels.contain(&other.selector));
    first == second || (first.contains(&second) || second.contains(&first)) && both()
}

fn number(server: &Server) -> u32 {
    server.port.as_ref().map_or(0, |port| port.number)
}

fn collide(server: &Server, other: &Server) -> bool {
    number(server) == number(other) && server.bind == other.bind && server.hosts.iter().any(|host| other.hosts.contains(host))
}
