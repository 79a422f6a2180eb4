//! A workload's key and the request for a certificate of it; what comes back, taken apart just far enough to know when it
//! has to be renewed.

use base::SpiffeIdentity;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, SanType};
use std::fmt;
use std::time::{Duration, SystemTime};
use x509_parser::pem::Pem;

/// What is wrong with a key or a certificate. A retry helps only if istiod answers differently.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The key could not be made, or the request not be written.
    #[error("the certificate request cannot be made: {0}")]
    Request(#[from] rcgen::Error),
    /// istiod's answer has no certificate in it, or no root after it.
    #[error("the answer holds {0} certificates; the workload's own and the root are expected at least")]
    Incomplete(usize),
    /// A certificate cannot be read.
    #[error("a certificate in the answer cannot be read: {0}")]
    Unreadable(String),
}

/// Algorithms of a workload's key (Istio's `ECC_SIGNATURE_ALGORITHM`, `ECC_CURVE` and `WORKLOAD_RSA_KEY_SIZE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256: small, and fast on both sides.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA with 2,048 bits.
    Rsa2048,
}

/// A key that never leaves the process, and the signed request for its certificate.
pub struct Request {
    key_pem: String,
    /// The request, PEM.
    pub csr_pem: String,
}

impl Request {
    /// A new key, and a request in the name of `identity`. istiod takes nothing from it but the public key; the name is there
    /// for authorities that look at it.
    pub fn new(identity: &SpiffeIdentity, algorithm: KeyAlgorithm) -> Result<Self, CertificateError> {
        let key = KeyPair::generate_for(match algorithm {
            KeyAlgorithm::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Rsa2048 => &PKCS_RSA_SHA256,
        })?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
        let csr_pem = params.serialize_request(&key)?.pem()?;
        Ok(Self { key_pem: key.serialize_pem(), csr_pem })
    }

    /// The certificate that `chain` gives to this key: leaf first, intermediates, the roots as the last element.
    pub fn granted(self, chain: &[String]) -> Result<Certificate, CertificateError> {
        let Some((roots, certificates)) = chain.split_last().filter(|(_, certificates)| !certificates.is_empty()) else {
            return Err(CertificateError::Incomplete(chain.len()));
        };
        let leaf = certificates.first().map(String::as_str).unwrap_or_default();
        let not_after = end_of_validity(leaf)?;
        let chain_pem: String = certificates.iter().map(|pem| with_newline(pem)).collect();
        Ok(Certificate { chain_pem, key_pem: self.key_pem, roots_pem: with_newline(roots), received: SystemTime::now(), not_after })
    }
}

/// A workload's certificate with its key and the roots of the mesh.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The leaf and its intermediates, PEM.
    pub chain_pem: String,
    /// The private key, PKCS#8 PEM. Handed to Envoy over the Unix socket, and to nobody else.
    pub key_pem: String,
    /// The roots, PEM.
    pub roots_pem: String,
    /// When it came. Its own start is back-dated by istiod, against clocks that differ, and says nothing about its age.
    pub received: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
}

impl Certificate {
    /// When to ask for the next one, seen from `now`: when only `grace` of the remaining lifetime is left. Zero if it is late.
    pub fn renew_in(&self, now: SystemTime, grace: f64) -> Duration {
        let lifetime = self.not_after.duration_since(self.received).unwrap_or_default();
        let renew_at = self.not_after.checked_sub(lifetime.mul_f64(grace.clamp(0.0, 1.0))).unwrap_or(self.received);
        renew_at.duration_since(now).unwrap_or_default()
    }
}

impl fmt::Debug for Certificate {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("received", &self.received).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

fn end_of_validity(pem: &str) -> Result<SystemTime, CertificateError> {
    let unreadable = |what: String| CertificateError::Unreadable(what);
    let (block, _) = Pem::read(std::io::Cursor::new(pem)).map_err(|error| unreadable(error.to_string()))?;
    let certificate = block.parse_x509().map_err(|error| unreadable(error.to_string()))?;
    let seconds = certificate.validity().not_after.timestamp();
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// Parts are written one after another; Envoy reads no PEM block that begins in the middle of a line.
fn with_newline(pem: &str) -> String {
    if pem.ends_with('\n') { pem.to_owned() } else { format!("{pem}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_when_the_grace_is_all_that_is_left() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let certificate = Certificate {
            chain_pem: String::new(),
            key_pem: "secret".into(),
            roots_pem: String::new(),
            received: start,
            not_after: start + Duration::from_secs(100),
        };
        assert_eq!(certificate.renew_in(start, 0.5), Duration::from_secs(50));
        assert_eq!(certificate.renew_in(start + Duration::from_secs(70), 0.5), Duration::ZERO);
        assert!(!format!("{certificate:?}").contains("secret"));
    }

    #[test]
    fn an_answer_without_root_is_refused() {
        let identity = SpiffeIdentity::parse("spiffe://cluster.local/ns/shop/sa/cart").unwrap();
        let request = Request::new(&identity, KeyAlgorithm::EcdsaP256).unwrap();
        assert!(request.csr_pem.contains("BEGIN CERTIFICATE REQUEST"));
        assert!(matches!(request.granted(&["only one".into()]), Err(CertificateError::Incomplete(1))));
    }
}
