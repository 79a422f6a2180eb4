//! What is to be said about a class of proxies, rather than about an object alone.

use crate::class::ClassKey;
use base::Diagnostic;
use istio_api::security::peer_authentication::MutualTlsMode;
use model::{Certificates, ProxyKind, Snapshot};
use std::collections::BTreeSet;

/// Ports that refuse every connection, because a policy demands mutual TLS of a proxy that has no certificate.
pub fn diagnostics<'a>(snapshot: &Snapshot, classes: impl Iterator<Item = &'a ClassKey>) -> Vec<Diagnostic> {
    let bare = classes.filter(|class| class.kind == ProxyKind::Sidecar && class.certificates == Certificates::None);
    let mut out = BTreeSet::new();
    for class in bare {
        let policies = &snapshot.peer_authentications;
        let ports: BTreeSet<u16> = class.targets.iter().map(|target| target.target).collect();
        for port in ports {
            if policies.mode(&class.namespace, &class.labels, port) != MutualTlsMode::Strict {
                continue;
            }
            let origin = policies.deciding(&class.namespace, &class.labels, port).map(|policy| policy.object_ref());
            let text = format!(
                "port {port} of a workload in {} refuses every connection: mutual TLS is demanded, and its proxy has no certificate; \
                 start the proxy with an agent, or allow plain text (mode PERMISSIVE or DISABLE)",
                class.namespace
            );
            out.insert(Diagnostic::warning("ProxyWithoutCertificate", origin, "spec.mtls.mode", text));
        }
    }
    out.into_iter().collect()
}
