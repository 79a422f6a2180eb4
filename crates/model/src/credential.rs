//! Credentials of gateways and clients: what a Secret is good for, and who may have it.

mod findings;

use crate::Snapshot;
use base::{ClusterId, Namespace};
use config::Key;
use incremental::{Cx, Table};
use istio_api::{
    Object,
    kubernetes::{reference_grant::ReferenceGrant, secret::Secret},
};
use rustls::{
    SignatureAlgorithm,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
};
use std::sync::Arc;
use x509_parser::{certificate::X509Certificate, prelude::FromDer, revocation_list::CertificateRevocationList, x509::SubjectPublicKeyInfo};

/// The suffix by which Istio names the authorities that belong to a credential.
pub const AUTHORITIES_SUFFIX: &str = "-cacert";

/// The entries in which a certificate and its key may stand, in Istio's order.
const PAIRS: [(&str, &str); 2] = [("tls.crt", "tls.key"), ("cert", "key")];
/// Those of authorities.
const AUTHORITIES: [&str; 2] = ["ca.crt", "cacert"];
/// Those of the certificates that authorities have revoked.
const REVOCATIONS: [&str; 2] = ["ca.crl", "crl"];
/// The groups whose kind Gateway a grant may name: that of the Gateway API, which Istio knows, and Istio's own.
const GATEWAY_GROUPS: [&str; 2] = ["gateway.networking.k8s.io", "networking.istio.io"];

/// A Secret that was looked into: Envoy refuses a damaged one, and with it whatever comes in the same response.
#[derive(Clone, PartialEq, Debug)]
pub struct Credential {
    /// The Secret.
    pub secret: Arc<Object<Secret>>,
    certificate: Result<(&'static str, &'static str), String>,
    authorities: Result<(&'static str, Option<&'static str>), String>,
}

/// Authorities, and the list of what they have revoked; both PEM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authorities<'a> {
    /// The certificates.
    pub certificates: &'a [u8],
    /// The revocation lists.
    pub revocations: Option<&'a [u8]>,
}

impl Credential {
    /// Looks into a Secret. A certificate that has expired is one: whether clients take it is theirs to say.
    pub fn read(secret: &Arc<Object<Secret>>) -> Self {
        Self { certificate: find_pair(&secret.spec), authorities: find_authorities(&secret.spec), secret: secret.clone() }
    }

    /// The certificate with its intermediates, and its key, both PEM.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn certificate(&self) -> Result<(&[u8], &[u8]), &str> {
        let (certificate, key) = self.certificate.as_ref().map_err(String::as_str)?;
        Ok((self.entry(certificate), self.entry(key)))
    }

    /// The authorities that it holds.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn authorities(&self) -> Result<Authorities<'_>, &str> {
        let (certificates, revocations) = self.authorities.as_ref().map_err(String::as_str)?;
        Ok(Authorities { certificates: self.entry(certificates), revocations: revocations.map(|name| self.entry(name)) })
    }

    fn entry(&self, name: &str) -> &[u8] {
        self.secret.spec.get(name).unwrap_or_default()
    }
}

fn find_pair(secret: &Secret) -> Result<(&'static str, &'static str), String> {
    let both = |(certificate, key): &(&str, &str)| secret.get(certificate).is_some() && secret.get(key).is_some();
    let (certificate, key) =
        PAIRS.into_iter().find(both).ok_or_else(|| "it has neither tls.crt and tls.key nor cert and key".to_owned())?;
    let (chain_pem, key_pem) = (secret.get(certificate).unwrap_or_default(), secret.get(key).unwrap_or_default());
    let chain = certificates(chain_pem).map_err(|error| format!("{certificate} {error}"))?;
    let leaf = chain.first().ok_or_else(|| format!("{certificate} holds no certificate"))?;
    let private = PrivateKeyDer::pem_slice_iter(key_pem)
        .next()
        .ok_or_else(|| format!("{key} holds no private key"))?
        .map_err(|_| format!("{key} holds a private key that cannot be decoded"))?;
    // Envoy takes no Ed25519.
    let signing = any_supported_type(&private)
        .ok()
        .filter(|signing| matches!(signing.algorithm(), SignatureAlgorithm::ECDSA | SignatureAlgorithm::RSA))
        .ok_or_else(|| format!("{key} holds a key that is not supported; use ECDSA P-256, P-384 or RSA with 2048 bits or more"))?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| format!("{certificate} holds something that is no X.509 certificate"))?;
    let public = signing.public_key();
    let same = public.as_ref().is_none_or(|public| {
        SubjectPublicKeyInfo::from_der(public)
            .is_ok_and(|(_, public)| public.subject_public_key.data == leaf.public_key().subject_public_key.data)
    });
    if same { Ok((certificate, key)) } else { Err(format!("{key} is not the key of {certificate}")) }
}

fn find_authorities(secret: &Secret) -> Result<(&'static str, Option<&'static str>), String> {
    let first = |names: [&'static str; 2]| names.into_iter().find(|name| secret.get(name).is_some());
    let entry = first(AUTHORITIES).ok_or_else(|| "it has neither ca.crt nor cacert".to_owned())?;
    certificates(secret.get(entry).unwrap_or_default()).map_err(|error| format!("{entry} {error}"))?;
    let revocations = first(REVOCATIONS);
    if let Some(name) = revocations {
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(secret.get(name).unwrap_or_default()).collect();
        let lists = lists.map_err(|_| format!("{name} holds a revocation list that cannot be decoded"))?;
        if lists.is_empty() || lists.iter().any(|list| CertificateRevocationList::from_der(list).is_err()) {
            return Err(format!("{name} holds no revocation list, or one that cannot be decoded"));
        }
    }
    Ok((entry, revocations))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|_| "holds a certificate that cannot be decoded")?;
    match all.iter().any(|certificate| X509Certificate::from_der(certificate).is_err()) {
        true => Err("holds something that is no X.509 certificate"),
        false if all.is_empty() => Err("holds no certificate in PEM"),
        false => Ok(all),
    }
}

/// Which Secret a `credentialName` means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CredentialReference<'a> {
    /// `None` is the namespace of the proxy.
    pub namespace: Option<&'a str>,
    /// The name of the Secret.
    pub name: &'a str,
}

impl<'a> CredentialReference<'a> {
    /// Reads `name`, `namespace/name`, and either after `kubernetes://` or `kubernetes-gateway://`. `None` if no Secret of
    /// a cluster is meant (`sds://`, `builtin://`, `configmap://` …).
    pub fn parse(text: &'a str) -> Option<Self> {
        let path = match text.split_once("://") {
            Some(("kubernetes" | "kubernetes-gateway", path)) => path,
            Some(_) => return None,
            None => text,
        };
        let (namespace, name) = match path.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, path),
        };
        (!name.is_empty() && namespace != Some("")).then_some(Self { namespace, name })
    }
}

/// What refers to a credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Referrer {
    /// A Gateway: what other namespaces grant to Gateways of the proxy's namespace, it may have.
    Gateway,
    /// A DestinationRule or a Sidecar: credentials of the proxy's own namespace only.
    Workload,
}

/// Why a proxy does not get a credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CredentialFault {
    /// There is no such Secret.
    Missing,
    /// It belongs to another namespace, which has not granted it.
    NotGranted,
}

/// Who wants a credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CredentialUser<'a> {
    /// The namespace of the proxy.
    pub namespace: &'a Namespace,
    /// Its cluster, whose Secrets precede those of others.
    pub cluster: Option<&'a ClusterId>,
    /// What refers to it.
    pub referrer: Referrer,
}

impl Snapshot {
    /// The credential of that name, if `user` may have it.
    ///
    /// # Errors
    /// See [`CredentialFault`]. Whether a Secret of a stranger exists is not told.
    pub fn credential(&self, user: CredentialUser<'_>, reference: CredentialReference<'_>) -> Result<&Arc<Credential>, CredentialFault> {
        let namespace = reference.namespace.map_or_else(|| user.namespace.clone(), Namespace::new);
        if namespace != *user.namespace && !(user.referrer == Referrer::Gateway && self.grants(&namespace, user.namespace, reference.name))
        {
            return Err(CredentialFault::NotGranted);
        }
        let mut rows = of_name(&self.credentials, &namespace, reference.name);
        let first = rows.next().ok_or(CredentialFault::Missing)?;
        let own = |(key, _): &(&Key, _)| user.cluster.is_some_and(|cluster| key.cluster == *cluster);
        Ok(std::iter::once(first).chain(rows).find(own).unwrap_or(first).1)
    }

    /// Whether Gateways of the namespace `from` may refer to the Secret `name` of the namespace `to`.
    fn grants(&self, to: &Namespace, from: &Namespace, name: &str) -> bool {
        let start = Key { namespace: to.clone(), name: Arc::from(""), cluster: ClusterId::default() };
        let rows = self.reference_grants.range(&mut Cx::default(), start..).take_while(|(key, _)| key.namespace == *to);
        rows.into_iter().any(|(_, grant)| allows(&grant.spec, from, name))
    }
}

fn allows(grant: &ReferenceGrant, from: &Namespace, name: &str) -> bool {
    let gateways = grant
        .from
        .iter()
        .any(|who| who.kind == "Gateway" && GATEWAY_GROUPS.contains(&who.group.as_str()) && who.namespace == from.as_str());
    let secret = |what: &istio_api::kubernetes::reference_grant::ReferenceGrantTo| {
        what.kind == "Secret" && what.group.is_empty() && what.name.as_deref().is_none_or(|own| own.is_empty() || own == name)
    };
    gateways && grant.to.iter().any(secret)
}

fn of_name<'a, T: PartialEq>(table: &'a Table<Key, T>, namespace: &Namespace, name: &str) -> impl Iterator<Item = (&'a Key, &'a Arc<T>)> {
    let start = Key { namespace: namespace.clone(), name: Arc::from(name), cluster: ClusterId::default() };
    let (namespace, name) = (namespace.clone(), start.name.clone());
    table.range(&mut Cx::default(), start..).take_while(move |(key, _)| key.namespace == namespace && key.name == name)
}

#[cfg(test)]
mod tests;
