//! One certificate at several gateways of a workload, over which HTTP/2 clients mix them up (`IST0138`).

use crate::{
    Mesh, code,
    mesh::rows,
    report::{Report, full_name, list},
};
use istio_api::networking::gateway::{Gateway, ServerTlsSettings};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let gateways: Vec<_> = rows(&mesh.store.gateways).collect();
    for gateway in &gateways {
        let narrower = |other: &Gateway| gateway.spec.selector.iter().all(|(key, value)| other.selector.get(key) == Some(value));
        for other in gateways.iter().filter(|other| other.object_ref() != gateway.object_ref() && narrower(&other.spec)) {
            if common_certificate(&gateway.spec, &other.spec) {
                let names = list([full_name(&gateway.object_ref()), full_name(&other.object_ref())]);
                let text =
                    format!("Duplicate certificate in multiple gateways {names} may cause 404s if clients re-use HTTP2 connections.");
                report.add(code::GATEWAY_DUPLICATE_CERTIFICATE, gateway.object_ref(), "metadata.name", text);
            }
        }
    }
}

fn common_certificate(one: &Gateway, other: &Gateway) -> bool {
    let settings =
        |gateway: &'_ Gateway| -> Vec<ServerTlsSettings> { gateway.servers.iter().filter_map(|server| server.tls.clone()).collect() };
    let others = settings(other);
    settings(one).iter().any(|tls| others.iter().any(|other| same(tls, other)))
}

fn same(one: &ServerTlsSettings, other: &ServerTlsSettings) -> bool {
    match (one.credential_name.as_str(), other.credential_name.as_str()) {
        ("", "") => {
            let files = |tls: &ServerTlsSettings| (tls.server_certificate.clone(), tls.private_key.clone());
            !one.server_certificate.is_empty() && !one.private_key.is_empty() && files(one) == files(other)
        }
        ("", _) | (_, "") => false,
        (one, other) => one == other,
    }
}
