//! A signing certificate that was found to be usable, and what goes out beside a leaf.

use crate::{authority::AuthorityError, digest, pem, root::KeyMaterial};
use rcgen::{Issuer, KeyPair, PublicKeyData};
use std::{sync::Arc, time::SystemTime};
use time::OffsetDateTime;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// What workloads trust.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle {
    /// One text with all roots, in the operator's order.
    pub pem: String,
    /// The roots.
    pub roots: Vec<CertificateDer<'static>>,
    /// Names this bundle: the hash of its roots.
    pub hash: String,
}

impl Bundle {
    /// Parses the text of `root-cert.pem`; a root that occurs twice counts once.
    ///
    /// # Errors
    /// When a certificate cannot be decoded, or none is there.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        let mut roots: Vec<CertificateDer<'static>> = Vec::new();
        for root in pem::certificates(text).map_err(|error| AuthorityError::Pem("root-cert.pem", error))? {
            parsed(&root, "root-cert.pem")?;
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        let pem: String = roots.iter().map(pem::encode_certificate).collect();
        Ok(Self { hash: digest::hex(pem.as_bytes()), pem, roots })
    }

    /// The roots of both, those of `self` first.
    ///
    /// # Errors
    /// Never in practice: both were parsed before.
    pub fn with(&self, other: &Self) -> Result<Self, AuthorityError> {
        Self::parse(&format!("{}{}", self.pem, other.pem))
    }

    /// Whether everything that trusts this bundle trusts the roots of `other`.
    pub fn covers(&self, other: &Self) -> bool {
        other.roots.iter().all(|root| self.roots.contains(root))
    }

    /// The number of seconds since 1970 after which the first of the roots is not valid any more.
    pub fn expires(&self) -> i64 {
        self.roots.iter().filter_map(|root| parsed(root, "").ok().map(|root| root.validity().not_after.timestamp())).min().unwrap_or(0)
    }
}

/// A signing certificate with its key, checked.
pub struct Signer {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    /// The signing certificate and the intermediates above it, PEM each; empty if a root signs.
    pub intermediates: Vec<String>,
    /// The same, encoded.
    pub intermediate_ders: Vec<CertificateDer<'static>>,
    /// What workloads trust.
    pub bundle: Arc<Bundle>,
    /// Revocation lists that are passed on, as the operator wrote them.
    pub crl: Option<String>,
    /// The same lists, encoded.
    pub revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    /// Names the signing certificate: its hash.
    pub fingerprint: String,
    /// When it, or an intermediate above it, is not valid any more: seconds since 1970.
    pub expires: i64,
    /// When it began to be valid: seconds since 1970.
    pub began: i64,
    /// The root that it chains to.
    pub root: CertificateDer<'static>,
}

impl Signer {
    /// Checks everything that would otherwise be noticed by workloads only: the certificate may sign, is valid at `now`,
    /// belongs to the key, and chains to one of the roots.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn new(material: &KeyMaterial, now: SystemTime) -> Result<Self, AuthorityError> {
        let fault = |error| AuthorityError::Pem("ca-cert.pem", error);
        let own = pem::certificates(&material.certificate).map_err(fault)?.into_iter().next().ok_or(AuthorityError::NotCa)?;
        let certificate = parsed(&own, "ca-cert.pem")?;
        let usage = certificate.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        if !certificate.is_ca() || !usage {
            return Err(AuthorityError::NotCa);
        }
        let key = pem::private_key(&material.key).map_err(|error| AuthorityError::Pem("ca-key.pem", error))?;
        let key = KeyPair::try_from(&key).map_err(|_| AuthorityError::UnsupportedKey)?;
        if *certificate.public_key().subject_public_key.data != *key.der_bytes() {
            return Err(AuthorityError::KeyMismatch);
        }
        let bundle = Bundle::parse(&material.roots)?;
        let above = chain(&material.chain, &own)?;
        let (root, expires) = anchor(&own, &above, &bundle)?;
        if expires <= seconds(now) {
            return Err(AuthorityError::Expired);
        }
        let self_signed = certificate.subject() == certificate.issuer();
        let mut intermediate_ders = if self_signed { Vec::new() } else { vec![own.clone()] };
        intermediate_ders.extend(above);
        let revocation_lists = match &material.crl {
            Some(text) => pem::revocation_lists(text).map_err(|error| AuthorityError::Pem("ca-crl.pem", error))?,
            None => Vec::new(),
        };
        Ok(Self {
            began: certificate.validity().not_before.timestamp(),
            issuer: Issuer::from_ca_cert_der(&own, key)?,
            intermediates: intermediate_ders.iter().map(pem::encode_certificate).collect(),
            intermediate_ders,
            bundle: Arc::new(bundle),
            crl: material.crl.clone(),
            revocation_lists,
            fingerprint: digest::hex(&own),
            expires,
            root,
        })
    }

    /// Whether less than `percent` of its life is left.
    pub fn in_grace(&self, percent: u32, now: SystemTime) -> bool {
        let life = self.expires.saturating_sub(self.began);
        self.expires.saturating_sub(seconds(now)) < life.saturating_mul(i64::from(percent)) / 100
    }
}

/// The intermediates above `own`: its own certificate, which Istio's `cert-chain.pem` begins with, and roots, with which
/// it ends, are not among them.
fn chain(text: &str, own: &CertificateDer<'static>) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut above = Vec::new();
    for certificate in pem::certificates(text).map_err(|error| AuthorityError::Pem("cert-chain.pem", error))? {
        let parsed = parsed(&certificate, "cert-chain.pem")?;
        let root = parsed.subject() == parsed.issuer();
        if certificate != *own && !root && !above.contains(&certificate) {
            above.push(certificate);
        }
    }
    Ok(above)
}

/// Climbs from the signing certificate to a root; returns it, and when the first certificate on the way expires.
fn anchor(
    own: &CertificateDer<'static>,
    above: &[CertificateDer<'static>],
    bundle: &Bundle,
) -> Result<(CertificateDer<'static>, i64), AuthorityError> {
    let mut current = own.clone();
    let mut expires = i64::MAX;
    // No chain is longer than its certificates; one that goes in circles ends here too.
    for _ in 0..=above.len() {
        let certificate = parsed(&current, "cert-chain.pem")?;
        expires = expires.min(certificate.validity().not_after.timestamp());
        if bundle.roots.contains(&current) {
            return Ok((current.clone(), expires));
        }
        let issued = |by: &&CertificateDer<'static>| is_issuer(by, &certificate);
        if let Some(root) = bundle.roots.iter().find(issued) {
            return Ok((root.clone(), expires.min(parsed(root, "root-cert.pem")?.validity().not_after.timestamp())));
        }
        let Some(next) = above.iter().find(issued).cloned() else { break };
        drop(certificate);
        current = next;
    }
    Err(AuthorityError::Untrusted)
}

fn is_issuer(issuer: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> bool {
    parsed(issuer, "").is_ok_and(|issuer| {
        issuer.subject() == certificate.issuer() && issuer.is_ca() && certificate.verify_signature(Some(issuer.public_key())).is_ok()
    })
}

fn parsed<'a>(der: &'a CertificateDer<'_>, file: &'static str) -> Result<X509Certificate<'a>, AuthorityError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| AuthorityError::NotX509(file))?;
    Ok(certificate)
}

pub(crate) fn seconds(time: SystemTime) -> i64 {
    OffsetDateTime::from(time).unix_timestamp()
}
