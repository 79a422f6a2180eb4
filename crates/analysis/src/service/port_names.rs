//! Ports whose protocol must be guessed (`IST0118`), and those of ExternalName Services that capture too much (`IST0150`).

use crate::{Mesh, code, mesh::rows, report::Report, workload::is_control_plane};
use base::Protocol;
use istio_api::IntOrString;

/// Values of the label of Services that the control plane made itself.
const MANAGED: [&str; 3] = ["istio.io-gateway-controller", "istio.io-mesh-controller", "istio.io-eastwest-controller"];

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for service in rows(&mesh.store.services).filter(|service| !is_control_plane(&service.metadata)) {
        if service.metadata.labels.get("gateway.istio.io/managed").is_some_and(|value| MANAGED.contains(&value)) {
            continue;
        }
        let alias = service.spec.service_type == "ExternalName";
        for (index, port) in service.spec.ports.iter().enumerate() {
            let number = u16::try_from(port.port).unwrap_or_default();
            let guessed = Protocol::of_service_port(number, &port.name, &port.protocol, port.app_protocol.as_deref()).is_unsupported();
            if !(guessed || alias && port.name == "tcp") {
                continue;
            }
            let target = match &port.target_port {
                Some(IntOrString::String(name)) => name.clone(),
                Some(IntOrString::Int(number)) => number.to_string(),
                None => "0".to_owned(),
            };
            let (code, text) = if alias {
                let text = "Port name for ExternalName service is invalid. Proxy may prevent tcp named ports and unmatched traffic for ports \
                            serving TCP protocol from being forwarded correctly";
                (code::EXTERNAL_NAME_SERVICE_TYPE_INVALID_PORT_NAME, text.to_owned())
            } else {
                let text = format!(
                    "Port name {} (port: {}, targetPort: {target}) doesn't follow the naming convention of Istio port.",
                    port.name, port.port
                );
                (code::PORT_NAME_IS_NOT_UNDER_NAMING_CONVENTION, text)
            };
            report.add(code, service.object_ref(), format!("spec.ports[{index}].port"), text);
        }
    }
}
