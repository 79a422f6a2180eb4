//! Routes by claims of tokens at gateways that check none (`IST0149`).

use crate::{Mesh, code, host::short_or_full, mesh::rows, report::Report, workload::pods};
use istio_api::networking::virtual_service::VirtualService;
use model::MESH_GATEWAY;

/// What the names of such conditions begin with.
const CLAIM: &str = "@request.auth.claims";

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for service in rows(&mesh.store.virtual_services) {
        let Some(key) = claim(&service.spec) else { continue };
        for gateway in service.spec.gateways.iter().filter(|gateway| *gateway != MESH_GATEWAY) {
            let (namespace, name) = short_or_full(service.metadata.namespace.as_str(), gateway);
            let Some(object) = mesh.find(&mesh.store.gateways, namespace, name) else { continue };
            let shown = crate::report::full_name(&object.object_ref());
            for pod in pods(mesh).filter(|pod| pod.metadata.labels.contain(&object.spec.selector)) {
                let checked = rows(&mesh.store.request_authentications).any(|policy| {
                    let selector = policy.spec.selector.as_ref().map(|selector| &selector.match_labels);
                    let near = policy.metadata.namespace == pod.metadata.namespace || policy.metadata.namespace.as_str() == "istio-system";
                    near && selector.is_none_or(|labels| pod.metadata.labels.contain(labels))
                });
                if !checked {
                    let text = format!(
                        "The virtual service uses the JWT claim based routing (key: {key}) but found no request authentication for the \
                         gateway ({shown}) pod ({}). The request authentication must first be applied for the gateway pods to validate \
                         the JWT token and make the claims available for routing.",
                        pod.metadata.name
                    );
                    report.add(code::JWT_CLAIM_BASED_ROUTING_WITHOUT_REQUEST_AUTHN, service.object_ref(), "", text);
                }
            }
        }
    }
}

/// The first condition on a claim.
fn claim(service: &VirtualService) -> Option<&String> {
    let matches = service.http.iter().flat_map(|http| &http.matches);
    matches.flat_map(|m| m.headers.keys().chain(m.without_headers.keys())).find(|key| key.starts_with(CLAIM))
}
