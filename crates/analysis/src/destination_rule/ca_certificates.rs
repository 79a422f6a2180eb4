//! TLS towards servers whose certificate nobody checks (`IST0128`, `IST0129`).

use crate::{
    Mesh, code,
    mesh::rows,
    report::{Report, full_name},
};
use istio_api::networking::destination_rule::{ClientTlsMode, ClientTlsSettings, DestinationRule};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for rule in rows(&mesh.store.destination_rules) {
        let Some(policy) = &rule.spec.traffic_policy else { continue };
        let common = |mode: ClientTlsMode| {
            let (name, namespace, host) = (full_name(&rule.object_ref()), &rule.metadata.namespace, &rule.spec.host);
            format!(
                "DestinationRule {name} in namespace {namespace} has TLS mode set to {} but no caCertificates are set to validate server \
                 identity for host: {host}",
                mode.as_str()
            )
        };
        if let Some(mode) = unchecked(&rule.spec, policy.tls.as_ref()) {
            let code = code::NO_SERVER_CERTIFICATE_VERIFICATION_DESTINATION_LEVEL;
            report.add(code, rule.object_ref(), "spec.trafficPolicy.tls", common(mode));
        }
        for (index, settings) in policy.port_level_settings.iter().enumerate() {
            let Some(mode) = unchecked(&rule.spec, settings.tls.as_ref()) else { continue };
            let port = settings.port.as_ref().map(|port| format!("number:{}", port.number)).unwrap_or_default();
            let field = format!("spec.trafficPolicy.portLevelSettings[{index}].tls");
            let text = format!("{} at port {port}", common(mode));
            report.add(code::NO_SERVER_CERTIFICATE_VERIFICATION_PORT_LEVEL, rule.object_ref(), field, text);
        }
    }
}

/// The mode, if the server's certificate is not checked. A credential may hold authorities; it is only used by a rule that
/// selects its workloads.
fn unchecked(rule: &DestinationRule, tls: Option<&ClientTlsSettings>) -> Option<ClientTlsMode> {
    let tls = tls?;
    let mode = Some(tls.mode).filter(|mode| matches!(mode, ClientTlsMode::Simple | ClientTlsMode::Mutual))?;
    let by_credential = !tls.credential_name.is_empty() && rule.workload_selector.is_some();
    (tls.ca_certificates.is_empty() && !by_credential).then_some(mode)
}
