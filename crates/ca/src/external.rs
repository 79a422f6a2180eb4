//! Certificates of workloads that somebody else signs: what goes out to the signer, and what must come back.

use crate::{authority::AuthorityError, pem, signer::Bundle};
use base::SpiffeIdentity;
use futures::future::BoxFuture;
use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio_rustls::rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime},
    server::WebPkiClientVerifier,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// A request that the external signer gets. It signs the CSR as it is, so that its names were compared with the caller's
/// identity before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExternalRequest {
    /// The PKCS#10 request, PEM.
    pub csr: String,
    /// Who the certificate is for.
    pub identity: SpiffeIdentity,
    /// Which of several signers is asked for (the metadata `CertSigner`); `None` is the one that istiod was started with.
    pub signer: Option<String>,
    /// How long it is wanted to be valid.
    pub lifetime: Duration,
}

/// What an external signer gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExternalCertificate {
    /// The certificate, then the intermediates above it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The roots of the signer.
    pub roots: Arc<Bundle>,
}

/// Why an external signer gives nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExternalError {
    /// The request can never be signed.
    #[error("{0}")]
    Refused(String),
    /// A retry may help.
    #[error("{0}")]
    Failed(String),
}

/// Signs in the place of our own CA.
pub trait ExternalSigner: Send + Sync {
    /// Has the request signed.
    fn sign<'a>(&'a self, request: &'a ExternalRequest) -> BoxFuture<'a, Result<ExternalCertificate, ExternalError>>;
}

/// What was signed, checked.
pub(crate) struct Signed {
    /// PEM: the leaf, each intermediate, and last one text with all roots.
    pub chain: Vec<String>,
    /// When it is not valid any more: seconds since 1970.
    pub expires: i64,
}

/// Whether the signer has made what was asked for: a leaf for this key, with this identity and no other name, that chains
/// to its roots. A signer that lets others choose the names could hand out anybody's identity.
pub(crate) fn check(
    certificate: &ExternalCertificate,
    key: &SubjectPublicKeyInfo,
    identity: &SpiffeIdentity,
    also_trusted: &Bundle,
    now: SystemTime,
) -> Result<Signed, ExternalError> {
    let refused = |text: &str| ExternalError::Failed(format!("the signer has signed something else: {text}"));
    let (leaf, above) = certificate.chain.split_first().ok_or_else(|| refused("it holds no certificate"))?;
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| refused("it is no X.509 certificate"))?;
    if parsed.is_ca() {
        return Err(refused("it is the certificate of a CA"));
    }
    if *parsed.public_key().subject_public_key.data != *key.der_bytes() {
        return Err(refused("it is for another key"));
    }
    let names = parsed.subject_alternative_name().ok().flatten().map(|names| names.value.general_names.clone()).unwrap_or_default();
    let wanted = identity.to_string();
    if names != [GeneralName::URI(&wanted)] {
        return Err(refused("its names are not the caller's identity"));
    }
    verify(leaf, above, &certificate.roots, now).map_err(|error| refused(&error))?;
    let roots = certificate.roots.with(also_trusted).map_err(|error: AuthorityError| ExternalError::Failed(error.to_string()))?;
    let chain = certificate.chain.iter().map(pem::encode_certificate).chain([roots.pem]).collect();
    Ok(Signed { chain, expires: parsed.validity().not_after.timestamp() })
}

fn verify(leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>], roots: &Bundle, now: SystemTime) -> Result<(), String> {
    let mut store = RootCertStore::empty();
    for root in &roots.roots {
        store.add(root.clone()).map_err(|error| error.to_string())?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::new(aws_lc_rs::default_provider()))
        .build()
        .map_err(|error| error.to_string())?;
    let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    verifier.verify_client_cert(leaf, above, now).map(drop).map_err(|error| error.to_string())
}
