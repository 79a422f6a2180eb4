//! Destinations that are no service (`IST0101`), or of which nobody can say the port (`IST0112`), and subsets that requests
//! through a gateway do not see (`IST0140`).

use super::{Placed, destinations};
use crate::{
    Mesh, code,
    host::{KnownHost, KnownHosts},
    mesh::rows,
    report::{Report, full_name, list},
};
use istio_api::{Object, networking::virtual_service::VirtualService};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let known = KnownHosts::of(mesh);
    let services: Vec<_> = rows(&mesh.store.virtual_services).collect();
    for service in &services {
        for placed in destinations(&service.spec) {
            let what = if placed.mirror { "mirror host" } else { "host" };
            match known.find(&service.metadata.namespace, &service.spec.export_to, &placed.destination.host) {
                None => report.not_found(service.object_ref(), placed.field, what, &placed.destination.host),
                Some(host) => port(service, &placed, host, report),
            }
        }
        for other in &services {
            ineffective_subsets(service, other, report);
        }
    }
}

fn port(service: &Object<VirtualService>, placed: &Placed<'_>, known: &KnownHost, report: &mut Report) {
    let host = &placed.destination.host;
    match &placed.destination.port {
        None if known.ports.len() > 1 => {
            let text = format!(
                "This VirtualService routes to a service {host:?} that exposes multiple ports {}. Specifying a port in the destination is \
                 required to disambiguate.",
                list(&known.ports)
            );
            report.add(code::VIRTUAL_SERVICE_DESTINATION_PORT_SELECTOR_REQUIRED, service.object_ref(), placed.field.clone(), text);
        }
        Some(port) if !known.ports.contains(&port.number) => {
            report.not_found(service.object_ref(), placed.field.clone(), "host:port", &format!("{host}:{}", port.number));
        }
        _ => {}
    }
}

/// `other` divides a host into subsets, for sidecars; requests through the gateway of `service` go past it.
fn ineffective_subsets(service: &Object<VirtualService>, other: &Object<VirtualService>, report: &mut Report) {
    if service.spec.gateways.is_empty() {
        return;
    }
    for (rule, http) in service.spec.http.iter().enumerate() {
        for (index, route) in http.route.iter().enumerate() {
            let Some(destination) = route.destination.as_ref().filter(|destination| destination.subset.is_empty()) else { continue };
            let routes = other.spec.http.iter().flat_map(|http| &http.route).filter_map(|route| route.destination.as_ref());
            let divided = |known: &&_| -> bool {
                let known: &&istio_api::networking::virtual_service::Destination = known;
                !known.subset.is_empty() && known.host == destination.host && other.spec.hosts.contains(&known.host)
            };
            if routes.filter(divided).count() > 0 {
                let text = format!(
                    "Subset in virtual service {} has no effect on ingress gateway {} requests",
                    full_name(&other.object_ref()),
                    full_name(&service.object_ref())
                );
                let field = format!("spec.http[{rule}].route[{index}].destination.host");
                report.add(code::INGRESS_ROUTE_RULES_NOT_AFFECTED, service.object_ref(), field, text);
            }
        }
    }
}
