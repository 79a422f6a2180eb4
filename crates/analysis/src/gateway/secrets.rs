//! Credentials of gateways that do not exist (`IST0101`), cannot be used (`IST0161`) or belong to others.

use crate::{
    Mesh, code,
    mesh::rows,
    report::Report,
    selector::{self, first_label},
    workload::pods,
};
use istio_api::{kubernetes::secret::Secret, networking::gateway::ServerTlsMode};
use model::{CredentialUser, Referrer};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for gateway in rows(&mesh.store.gateways) {
        let wanted = &gateway.spec.selector;
        let serving = pods(mesh).find(|pod| pod.metadata.labels.contain(wanted));
        let Some(namespace) = serving.map(|pod| &pod.metadata.namespace).filter(|namespace| !namespace.as_str().is_empty()) else {
            report.not_found(gateway.object_ref(), first_label("spec.selector", wanted), "selector", &selector::text(wanted));
            continue;
        };
        if let Some(snapshot) = mesh.snapshot {
            let user = CredentialUser { namespace, cluster: None, referrer: Referrer::Gateway };
            report.diagnostics.extend(snapshot.credential_findings(gateway, user));
            continue;
        }
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let Some(tls) = &server.tls else { continue };
            for name in std::iter::once(&tls.credential_name).chain(&tls.credential_names).filter(|name| !name.is_empty()) {
                let field = format!("spec.servers[{index}].tls.credentialName");
                match mesh.find(&mesh.store.secrets, namespace.as_str(), name) {
                    None => report.not_found(gateway.object_ref(), field, "credentialName", name),
                    Some(secret)
                        if !usable(&secret.spec) || tls.mode == ServerTlsMode::Mutual && !authorities(mesh, namespace.as_str(), name) =>
                    {
                        let text = format!(
                            "The credential referenced by the Gateway {} in namespace {namespace} is invalid, which can cause the traffic \
                             not to work as expected.",
                            gateway.metadata.name
                        );
                        report.add(code::INVALID_GATEWAY_CREDENTIAL, gateway.object_ref(), field, text);
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

/// Whether the credential says whose client certificates are taken, itself or by the Secret beside it.
fn authorities(mesh: &Mesh<'_>, namespace: &str, name: &str) -> bool {
    let beside = format!("{name}-cacert");
    let secrets = [name, &beside].into_iter().filter_map(|name| mesh.find(&mesh.store.secrets, namespace, name));
    secrets.into_iter().any(|secret| ["ca.crt", "cacert"].iter().any(|entry| secret.spec.get(entry).is_some()))
}

/// The pairs of entries in which a certificate and its key may stand.
const PAIRS: [(&str, &str); 2] = [("tls.crt", "tls.key"), ("cert", "key")];

/// Whether there is a certificate with its key, both in PEM. Whether it has expired is a question of time, which the
/// gateway's clients answer.
fn usable(secret: &Secret) -> bool {
    let has = |entry: &str, words: &[u8]| secret.get(entry).is_some_and(|data| data.windows(words.len()).any(|part| part == words));
    PAIRS.iter().any(|(certificate, key)| has(certificate, b"-----BEGIN CERTIFICATE-----") && has(key, b"PRIVATE KEY-----"))
}
