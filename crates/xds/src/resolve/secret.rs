//! The credentials of a proxy, out of Secrets that it may have.

use super::View;
use crate::generate::Built;
use envoy::tls::{self, CertificateSecret, SecretNames};
use model::{AUTHORITIES_SUFFIX, Credential, CredentialReference, CredentialUser, Referrer};
use std::sync::Arc;
use xds_api::Wire;

/// The secrets of these names that exist, and those that tell a proxy to read files; one that is missing, damaged or not
/// for this proxy is left out, so that the proxy is told at once that it does not exist.
pub fn named(view: &View<'_>, names: &SecretNames, referrer: Referrer) -> Vec<Built> {
    let files = |name: &String| tls::file_secret(name).map(|secret| (name.clone(), secret.to_bytes(), Arc::from([])));
    let certificates = names.certificates.iter().filter_map(|name| files(name).or_else(|| certificate(view, name, referrer)));
    let authorities = names.authorities.iter().filter_map(|name| files(name).or_else(|| authorities_of(view, name, referrer)));
    certificates.chain(authorities).collect()
}

fn find<'a>(view: &View<'a>, name: &str, referrer: Referrer) -> Option<&'a Arc<Credential>> {
    let user = CredentialUser { namespace: &view.class.namespace, cluster: Some(&view.class.cluster), referrer };
    view.snapshot.credential(user, CredentialReference::parse(name)?).ok()
}

fn certificate(view: &View<'_>, name: &str, referrer: Referrer) -> Option<Built> {
    let credential = find(view, name, referrer)?;
    let (certificate_pem, key_pem) = credential.certificate().ok()?;
    let inputs = CertificateSecret { name, certificate_pem, key_pem, ocsp_staple: credential.secret.spec.get("tls.ocsp-staple") };
    Some((name.to_owned(), tls::secret(&inputs).to_bytes(), Arc::from([credential.secret.object_ref()])))
}

/// From the Secret of that name (`<credential>-cacert`), else from the credential's own `ca.crt`.
fn authorities_of(view: &View<'_>, name: &str, referrer: Referrer) -> Option<Built> {
    let of_credential = || find(view, name.strip_suffix(AUTHORITIES_SUFFIX)?, referrer);
    let credential = find(view, name, referrer).or_else(of_credential)?;
    let authorities = credential.authorities().ok()?;
    let secret = tls::ca_secret(name, authorities.certificates, authorities.revocations);
    Some((name.to_owned(), secret.to_bytes(), Arc::from([credential.secret.object_ref()])))
}
