//! PEM text to DER and back.

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject};

/// Why a PEM text cannot be used. Says nothing about the content, which may be a key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PemError {
    /// No block of the kind that is needed.
    #[error("holds no {0}; expected a block that begins with -----BEGIN")]
    Missing(&'static str),
    /// A block that cannot be decoded.
    #[error("holds a {0} that cannot be decoded: {1}")]
    Invalid(&'static str, String),
}

/// All certificates of a text, in its order; blocks of other kinds are passed over.
///
/// # Errors
/// When a block is damaged, or none is there.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    blocks(text, "certificate")
}

/// All revocation lists of a text.
///
/// # Errors
/// When a block is damaged, or none is there.
pub fn revocation_lists(text: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    blocks(text, "revocation list")
}

/// The first private key of a text: PKCS#8, PKCS#1 or SEC1. What `openssl ecparam -genkey` writes before it
/// (`EC PARAMETERS`) is passed over.
///
/// # Errors
/// When the block is damaged, or none is there.
pub fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::pem_slice_iter(text.as_bytes())
        .next()
        .ok_or(PemError::Missing("private key"))?
        .map_err(|error| PemError::Invalid("private key", error.to_string()))
}

fn blocks<T: PemObject>(text: &str, what: &'static str) -> Result<Vec<T>, PemError> {
    let blocks: Result<Vec<T>, _> = T::pem_slice_iter(text.as_bytes()).collect();
    let blocks = blocks.map_err(|error| PemError::Invalid(what, error.to_string()))?;
    if blocks.is_empty() { Err(PemError::Missing(what)) } else { Ok(blocks) }
}

/// One block, with lines of 64 characters and a newline at the end.
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = String::with_capacity(body.len() + body.len() / 64 + 64);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// One certificate as PEM.
pub fn encode_certificate(der: &CertificateDer<'_>) -> String {
    encode("CERTIFICATE", der)
}

/// The first block of a kind in a text that a peer has sent, without copying the rest of the text.
pub(crate) fn request(text: &str) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
    const BEGIN_OLD: &str = "-----BEGIN NEW CERTIFICATE REQUEST-----";
    let (_, rest) = text.split_once(BEGIN).or_else(|| text.split_once(BEGIN_OLD))?;
    let (body, _) = rest.split_once("-----END ")?;
    let compact: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(compact).ok()
}
