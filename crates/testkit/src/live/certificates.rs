//! The authority of a case's mesh, and the certificates that it gives to workloads and to clients.

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

/// One root, which signs for every trust domain: who is let in is then decided by names alone.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Certificate {
    /// PEM
    pub chain: String,
    /// PEM
    pub key: String,
}

impl Authority {
    /// A fresh root.
    ///
    /// # Errors
    /// If the system gives no key.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "cluster.local");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), root })
    }

    /// The root, PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// A certificate of `identity`, `spiffe://cluster.local/ns/shop/sa/catalog`, as istiod issues it: for clients and
    /// servers, without a subject.
    ///
    /// # Errors
    /// If the identity is no ASCII text, or the system gives no key.
    pub fn issue(&self, identity: &str) -> Result<Certificate> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(identity.try_into().with_context(|| format!("the identity {identity}"))?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Certificate { chain: certificate.pem(), key: key.serialize_pem() })
    }
}
