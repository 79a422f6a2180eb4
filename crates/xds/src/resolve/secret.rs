//! The credentials of a proxy, out of Secrets that it may have.

use super::View;
use crate::generate::Built;
use base::ObjectRef;
use envoy::tls::{self, CertificateSecret, SecretNames};
use istio_api::networking::{
    destination_rule::{ClientTlsSettings, TrafficPolicy},
    gateway::ServerTlsSettings,
};
use model::{AUTHORITIES_SUFFIX, Credential, CredentialReference, CredentialUser, Referrer};
use std::{collections::BTreeSet, sync::Arc};
use xds_api::Wire;

/// The secrets of these names that exist, and those that tell a proxy to read files; one that is missing, damaged or not
/// for this proxy is left out, so that the proxy is told at once that it does not exist.
pub fn named(view: &View<'_>, names: &SecretNames, referrer: Referrer) -> Vec<Built> {
    let certificates = names.certificates.iter().filter_map(|name| files(view, name).or_else(|| certificate(view, name, referrer)));
    let authorities = names.authorities.iter().filter_map(|name| files(view, name).or_else(|| authorities_of(view, name, referrer)));
    certificates.chain(authorities).collect()
}

/// Only the proxy knows whether the files exist. Where they do not, it refuses the secret, of which the objects are told that
/// name them.
fn files(view: &View<'_>, name: &str) -> Option<Built> {
    let secret = tls::file_secret(name)?;
    let paths: Vec<&str> = tls::files_of(name).collect();
    let snapshot = view.snapshot;
    let named = |path: &String| paths.contains(&path.as_str());
    let by_server = |tls: &ServerTlsSettings| {
        [&tls.server_certificate, &tls.private_key, &tls.ca_certificates, &tls.ca_crl].into_iter().any(named)
            || tls
                .tls_certificates
                .iter()
                .any(|pair| [&pair.server_certificate, &pair.private_key, &pair.ca_certificates].into_iter().any(named))
    };
    let by_client =
        |tls: &ClientTlsSettings| [&tls.client_certificate, &tls.private_key, &tls.ca_certificates, &tls.ca_crl].into_iter().any(named);
    let by_policy = |policy: &TrafficPolicy| {
        policy.tls.iter().chain(policy.port_level_settings.iter().filter_map(|port| port.tls.as_ref())).any(by_client)
    };
    let gateways =
        snapshot.gateways.iter().filter(|gateway| gateway.spec.servers.iter().filter_map(|server| server.tls.as_ref()).any(by_server));
    let sidecars = snapshot.sidecars.values().flatten();
    let sidecars = sidecars.filter(|sidecar| sidecar.spec.ingress.iter().filter_map(|listener| listener.tls.as_ref()).any(by_server));
    let rules = snapshot.destination_rules.iter().filter(|rule| {
        let subsets = rule.spec.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
        rule.spec.traffic_policy.iter().chain(subsets).any(by_policy)
    });
    let origins: BTreeSet<ObjectRef> = gateways
        .map(|gateway| gateway.object_ref())
        .chain(sidecars.map(|sidecar| sidecar.object_ref()))
        .chain(rules.flat_map(|rule| rule.origins.iter().cloned()))
        .collect();
    Some((name.to_owned(), secret.to_bytes(), origins.into_iter().collect()))
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
