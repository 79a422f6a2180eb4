//! A certificate signing request becomes the one thing that is taken from it: its public key.

use crate::pem;
use base::SpiffeIdentity;
use rcgen::SubjectPublicKeyInfo;
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    public_key::PublicKey,
};

/// The smallest RSA key that is signed, in bits.
const LEAST_RSA_BITS: usize = 2048;

/// Why a request is not signed; `INVALID_ARGUMENT` to the caller, whom a retry does not help.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CsrError {
    /// No PEM block, or one that does not decode.
    #[error("the CSR is no PEM block of the kind CERTIFICATE REQUEST")]
    NotPem,
    /// The block is no PKCS#10 request.
    #[error("the CSR cannot be parsed as PKCS#10")]
    NotPkcs10,
    /// The caller does not prove that it holds the private key.
    #[error("the signature of the CSR does not match its public key")]
    Signature,
    /// A kind or size of key that is not signed.
    #[error("the key of the CSR is not supported: {0}; use ECDSA P-256 or P-384, RSA with 2048 bits or more, or Ed25519")]
    Key(&'static str),
}

/// Verifies a PEM-encoded request and takes its public key. Subject, names, extensions and attributes are ignored: the
/// certificate says what the authenticated caller is, never what it asks to be.
///
/// # Errors
/// See [`CsrError`].
pub fn verify(csr: &str) -> Result<SubjectPublicKeyInfo, CsrError> {
    let der = pem::request(csr).ok_or(CsrError::NotPem)?;
    verify_der(&der)
}

/// Whether the names that a verified request asks for are `identity` and no others, and that it asks for no rights of a CA: for a signer that signs
/// requests as they are.
pub fn names_only(csr: &str, identity: &SpiffeIdentity) -> bool {
    let Some(der) = pem::request(csr) else { return false };
    let Ok((_, request)) = X509CertificationRequest::from_der(&der) else { return false };
    let wanted = identity.to_string();
    let mut names = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::SubjectAlternativeName(alternative) => names.extend(alternative.general_names.clone()),
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => return false,
            _ => {}
        }
    }
    names == [GeneralName::URI(&wanted)]
}

fn verify_der(der: &[u8]) -> Result<SubjectPublicKeyInfo, CsrError> {
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| CsrError::NotPkcs10)?;
    if !rest.is_empty() {
        return Err(CsrError::NotPkcs10);
    }
    let key = &request.certification_request_info.subject_pki;
    if let PublicKey::RSA(rsa) = key.parsed().map_err(|_| CsrError::Key("it cannot be parsed"))?
        && rsa.key_size() < LEAST_RSA_BITS
    {
        return Err(CsrError::Key("RSA with fewer than 2048 bits"));
    }
    request.verify_signature().map_err(|_| CsrError::Signature)?;
    SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| CsrError::Key("its algorithm"))
}
