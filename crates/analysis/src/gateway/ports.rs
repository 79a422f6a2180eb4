//! Gateways that no pod serves (`IST0101`), and ports that no Service of their pods has (`IST0162`).

use crate::{
    Mesh, code,
    mesh::rows,
    report::Report,
    selector::{self, first_label},
    workload::pods,
};
use istio_api::{Object, kubernetes::pod::Pod};
use std::{collections::BTreeSet, sync::Arc};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for gateway in rows(&mesh.store.gateways) {
        let wanted = &gateway.spec.selector;
        let text = selector::text(wanted);
        let serving: Vec<_> = pods(mesh).filter(|pod| pod.metadata.labels.contain(wanted)).collect();
        if serving.is_empty() {
            report.not_found(gateway.object_ref(), first_label("spec.selector", wanted), "selector", &text);
            continue;
        }
        let mut exposed = BTreeSet::new();
        for service in rows(&mesh.store.services) {
            let own = |pod: &Arc<Object<Pod>>| {
                pod.metadata.namespace == service.metadata.namespace && pod.metadata.labels.contain(&service.spec.selector)
            };
            if serving.iter().any(|pod| own(pod)) {
                let tcp = service.spec.ports.iter().filter(|port| matches!(port.protocol.as_str(), "" | "TCP"));
                exposed.extend(tcp.filter_map(|port| u32::try_from(port.port).ok()));
            }
        }
        let declared = gateway.spec.servers.iter().filter_map(|server| server.port.as_ref());
        for port in declared.filter(|port| !exposed.contains(&port.number)) {
            let text = format!(
                "The gateway is listening on a target port (port {}) that is not defined in the Service associated with its workload \
                 instances (Pod selector {text}). If you need to access the gateway port through the gateway Service, it will not be \
                 available.",
                port.number
            );
            report.add(code::GATEWAY_PORT_NOT_DEFINED_ON_SERVICE, gateway.object_ref(), first_label("spec.selector", wanted), text);
        }
    }
}
