//! A service without address that takes all opaque connections to its port, to whatever address they go.

use super::{meet, port_owner};
use crate::{Mesh, code, report::Report};
use base::Protocol;
use registry::{Provider, Resolution};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let Some(snapshot) = mesh.snapshot else { return };
    for service in snapshot.services_by_age.iter().filter(|service| service.provider == Provider::External) {
        for port in service.ports.iter().filter(|port| matches!(port.protocol, Protocol::Tcp | Protocol::Unsupported)) {
            if matches!(service.resolution, Resolution::Alias(_)) || !port_owner::binds(service, port).contains(&None) {
                continue;
            }
            let others = snapshot.services_by_age.iter().filter(|other| {
                other.origin != service.origin && meet(&other.visibility, &service.visibility) && other.port(port.number).is_some()
            });
            let names: Vec<String> = others.take(3).map(|other| other.origin.to_string()).collect();
            let beside = if names.is_empty() { String::new() } else { format!(", past {}", names.join(", ")) };
            let text = format!(
                "without addresses, {} takes every connection to port {} that no other service's address claims, to whatever host it \
                 goes{beside}; set spec.addresses, or protocol TLS or HTTP, by which the host is known",
                service.key.hostname, port.number
            );
            report.add(code::PORT_CAPTURED, service.origin.clone(), "spec.addresses", text);
        }
    }
}
