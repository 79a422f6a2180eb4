//! What is of the past: fields and kinds (`IST0002`).

use crate::{Mesh, code, foreign::DEFINITION, mesh::rows, report::Report};

/// Kinds that are gone.
const GONE: [&str; 4] = ["ClusterRbacConfig", "RbacConfig", "ServiceRole", "ServiceRoleBinding"];

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for service in rows(&mesh.store.virtual_services) {
        for (index, http) in service.spec.http.iter().enumerate() {
            if http.fault.as_ref().and_then(|fault| fault.delay.as_ref()).is_some_and(|delay| delay.percent > 0) {
                let text = "Deprecated: HTTPRoute.fault.delay.percent is deprecated; use HTTPRoute.fault.delay.percentage";
                report.add(code::DEPRECATED, service.object_ref(), format!("spec.http[{index}].fault.delay.percent"), text);
            }
        }
    }
    for sidecar in rows(&mesh.store.sidecars) {
        if sidecar.spec.outbound_traffic_policy.as_ref().is_some_and(|policy| policy.egress_proxy.is_some()) {
            let text = "Deprecated: OutboundTrafficPolicy.EgressProxy ignored";
            report.add(code::DEPRECATED, sidecar.object_ref(), "spec.outboundTrafficPolicy.egressProxy", text);
        }
    }
    for definition in &mesh.foreign.definitions {
        let (group, kind) = (definition.content.group.as_str(), definition.content.kind.as_str());
        if group == "rbac.istio.io" && GONE.contains(&kind) {
            let text = format!("Deprecated: Custom resource type {group} {kind} is removed");
            report.add(code::DEPRECATED, definition.object_ref(DEFINITION), "", text);
        }
    }
}
