//! VirtualServices with what they refer to.

pub mod conflicting_hosts;
pub mod destination_hosts;
pub mod destination_rules;
pub mod gateways;
pub mod jwt_claims;

use istio_api::networking::virtual_service::{Destination, VirtualService};

/// A destination and where it stands.
pub(crate) struct Placed<'a> {
    /// The path of its `host`.
    pub field: String,
    /// Whether copies go there.
    pub mirror: bool,
    pub destination: &'a Destination,
}

/// All destinations of a VirtualService, copies last.
pub(crate) fn destinations<'a>(service: &'a VirtualService) -> Vec<Placed<'a>> {
    let mut all = Vec::new();
    let mut place = |field: String, mirror: bool, destination: Option<&'a Destination>| {
        all.extend(destination.map(|destination| Placed { field, mirror, destination }));
    };
    for (rule, tcp) in service.tcp.iter().enumerate() {
        for (index, route) in tcp.route.iter().enumerate() {
            place(format!("spec.tcp[{rule}].route[{index}].destination.host"), false, route.destination.as_ref());
        }
    }
    for (rule, tls) in service.tls.iter().enumerate() {
        for (index, route) in tls.route.iter().enumerate() {
            place(format!("spec.tls[{rule}].route[{index}].destination.host"), false, route.destination.as_ref());
        }
    }
    for (rule, http) in service.http.iter().enumerate() {
        for (index, route) in http.route.iter().enumerate() {
            place(format!("spec.http[{rule}].route[{index}].destination.host"), false, route.destination.as_ref());
        }
    }
    for (rule, http) in service.http.iter().enumerate() {
        place(format!("spec.http[{rule}].mirror.host"), true, http.mirror.as_ref());
        for (index, mirror) in http.mirrors.iter().enumerate() {
            place(format!("spec.http[{rule}].mirrors[{index}].destination.host"), true, mirror.destination.as_ref());
        }
    }
    all
}
