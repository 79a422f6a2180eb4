//! Ports of TCP that cannot be told apart without an address (`IST0134`).

use crate::{Mesh, code, mesh::rows, report::Report};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let settings = &mesh.store.mesh.default_config.proxy_metadata;
    let on = |name: &str| settings.get(name).is_some_and(|value| value == "true");
    let allocated = on("ISTIO_META_DNS_CAPTURE") && (on("ISTIO_META_DNS_AUTO_ALLOCATE") || on("PILOT_ENABLE_IP_AUTOALLOCATE"));
    if allocated {
        return;
    }
    for entry in rows(&mesh.store.service_entries).filter(|entry| entry.spec.addresses.is_empty() && entry.status.addresses.is_empty()) {
        for (index, port) in entry.spec.ports.iter().enumerate() {
            if port.protocol.is_empty() || port.protocol.eq_ignore_ascii_case("TCP") {
                let text = "ServiceEntry addresses are required for this protocol.";
                report.add(code::SERVICE_ENTRY_ADDRESSES_REQUIRED, entry.object_ref(), format!("spec.ports[{index}].name"), text);
            }
        }
    }
}
