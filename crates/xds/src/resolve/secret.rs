//! The credentials of a gateway, out of Secrets of its namespace.

use super::View;
use crate::generate::Built;
use config::Key;
use envoy::tls::{self, CertificateSecret};
use incremental::Cx;
use istio_api::Object;
use istio_api::kubernetes::secret::Secret;
use model::MergedGateway;
use std::{collections::BTreeMap, sync::Arc};
use xds_api::Wire;

/// The suffix by which Istio names the authorities that belong to a credential.
const CA_SUFFIX: &str = "-cacert";

/// The beginning of anything in PEM.
const PEM: &[u8] = b"-----BEGIN ";

/// Every secret that the gateway's servers refer to and that exists; one that is missing or has no certificate is left
/// out, so that the proxy is told at once that it does not exist.
pub fn secrets(view: &View<'_>, gateway: &MergedGateway) -> Vec<Built> {
    let mut out = BTreeMap::new();
    for server in gateway.ports.values().flatten() {
        let Some(settings) = &server.server.tls else { continue };
        for credential in std::iter::once(&settings.credential_name).chain(&settings.credential_names).filter(|name| !name.is_empty()) {
            let resource = tls::credential_resource_name(credential);
            if let Some(built) = certificate(view, credential, &resource) {
                out.insert(resource.clone(), built);
            }
            let authorities = format!("{resource}{CA_SUFFIX}");
            if let Some(built) = authorities_of(view, credential, &authorities) {
                out.insert(authorities, built);
            }
        }
        if !settings.ca_cert_credential_name.is_empty() {
            let resource = tls::credential_resource_name(&settings.ca_cert_credential_name);
            if let Some(built) = authorities_of(view, &settings.ca_cert_credential_name, &resource) {
                out.insert(resource, built);
            }
        }
    }
    out.into_values().collect()
}

/// `name`, `kubernetes://name`, or with `namespace/` before it; only the gateway's own namespace is served.
fn find<'a>(view: &View<'a>, credential: &str) -> Option<&'a Arc<Object<Secret>>> {
    let plain = credential.rsplit("://").next().unwrap_or(credential);
    let (namespace, name) = plain.split_once('/').unwrap_or((view.class.namespace.as_str(), plain));
    if namespace != view.class.namespace.as_str() {
        return None;
    }
    let start = Key { namespace: namespace.into(), name: Arc::from(name), cluster: Default::default() };
    let mut rows = view.snapshot.secrets.range(&mut Cx::default(), start..);
    rows.next().filter(|(key, _)| key.namespace.as_str() == namespace && &*key.name == name).map(|(_, secret)| secret)
}

fn certificate(view: &View<'_>, credential: &str, resource: &str) -> Option<Built> {
    let secret = find(view, credential)?;
    // Envoy would refuse others, and with them whatever comes in the same response.
    let pem = |data: &&[u8]| data.windows(PEM.len()).any(|part| part == PEM);
    let pair = |cert, key| Some((secret.spec.get(cert).filter(pem)?, secret.spec.get(key).filter(pem)?));
    let (certificate_pem, key_pem) = pair("tls.crt", "tls.key").or_else(|| pair("cert", "key"))?;
    let inputs = CertificateSecret { name: resource, certificate_pem, key_pem, ocsp_staple: secret.spec.get("tls.ocsp-staple") };
    Some((resource.to_string(), tls::secret(&inputs).to_bytes(), Arc::from([secret.object_ref()])))
}

/// From the Secret `<name>-cacert`, else from the credential's own `ca.crt`.
fn authorities_of(view: &View<'_>, credential: &str, resource: &str) -> Option<Built> {
    let own = find(view, &format!("{credential}{CA_SUFFIX}")).or_else(|| find(view, credential))?;
    let authorities = own.spec.get("ca.crt").or_else(|| own.spec.get("cacert"))?;
    let revocations = own.spec.get("ca.crl").or_else(|| own.spec.get("crl"));
    Some((resource.to_string(), tls::ca_secret(resource, authorities, revocations).to_bytes(), Arc::from([own.object_ref()])))
}
