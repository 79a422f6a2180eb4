//! The credentials of a proxy, out of Secrets of its namespace.

use super::View;
use crate::generate::Built;
use config::Key;
use envoy::tls::{self, CertificateSecret, SecretNames};
use incremental::Cx;
use istio_api::Object;
use istio_api::kubernetes::secret::Secret;
use std::sync::Arc;
use xds_api::Wire;

/// The suffix by which Istio names the authorities that belong to a credential.
const CA_SUFFIX: &str = "-cacert";

/// The beginning of anything in PEM.
const PEM: &[u8] = b"-----BEGIN ";

/// The secrets of these names that exist, and those that tell a proxy to read files; one that is missing or has no
/// certificate is left out, so that the proxy is told at once that it does not exist.
pub fn named(view: &View<'_>, names: &SecretNames) -> Vec<Built> {
    let files = |name: &String| tls::file_secret(name).map(|secret| (name.clone(), secret.to_bytes(), Arc::from([])));
    let certificates = names.certificates.iter().filter_map(|name| files(name).or_else(|| certificate(view, name)));
    let authorities = names.authorities.iter().filter_map(|name| files(name).or_else(|| authorities_of(view, name)));
    certificates.chain(authorities).collect()
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

fn certificate(view: &View<'_>, name: &str) -> Option<Built> {
    let secret = find(view, name)?;
    // Envoy would refuse others, and with them whatever comes in the same response.
    let pem = |data: &&[u8]| data.windows(PEM.len()).any(|part| part == PEM);
    let pair = |cert, key| Some((secret.spec.get(cert).filter(pem)?, secret.spec.get(key).filter(pem)?));
    let (certificate_pem, key_pem) = pair("tls.crt", "tls.key").or_else(|| pair("cert", "key"))?;
    let inputs = CertificateSecret { name, certificate_pem, key_pem, ocsp_staple: secret.spec.get("tls.ocsp-staple") };
    Some((name.to_owned(), tls::secret(&inputs).to_bytes(), Arc::from([secret.object_ref()])))
}

/// From the Secret of that name (`<credential>-cacert`), else from the credential's own `ca.crt`.
fn authorities_of(view: &View<'_>, name: &str) -> Option<Built> {
    let of_credential = || find(view, name.strip_suffix(CA_SUFFIX)?);
    let secret = find(view, name).or_else(of_credential)?;
    let authorities = secret.spec.get("ca.crt").or_else(|| secret.spec.get("cacert"))?;
    let revocations = secret.spec.get("ca.crl").or_else(|| secret.spec.get("crl"));
    Some((name.to_owned(), tls::ca_secret(name, authorities, revocations).to_bytes(), Arc::from([secret.object_ref()])))
}
