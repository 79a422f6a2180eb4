//! Makes tokens like those of Kubernetes where there is no Kubernetes.

use crate::digest;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use std::time::Duration;

/// Why no token can be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenIssuerError {
    /// The text holds no such key.
    #[error("the key is no ECDSA P-256 key in PKCS#8; `istiod token` makes one")]
    Key,
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// A namespace or a service account that Kubernetes would not allow.
    #[error("{0:?} is no name of a namespace or a service account: lower-case letters, digits and dashes")]
    Name(String),
}

/// An issuer of service-account tokens with a key of its own.
pub struct TokenIssuer {
    key: EcdsaKeyPair,
    pem: String,
    random: SystemRandom,
}

/// The `iss` of tokens without Kubernetes.
const ISSUER: &str = "istiod";

impl TokenIssuer {
    /// An issuer with a new key.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, TokenIssuerError> {
        let key = rcgen::KeyPair::generate().map_err(|_| TokenIssuerError::Random)?;
        Self::from_pem(&key.serialize_pem())
    }

    /// An issuer with the key that [`TokenIssuer::to_pem`] has written.
    ///
    /// # Errors
    /// When the text holds no such key.
    pub fn from_pem(text: &str) -> Result<Self, TokenIssuerError> {
        let der = crate::pem::private_key(text).map_err(|_| TokenIssuerError::Key)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_der()).map_err(|_| TokenIssuerError::Key)?;
        Ok(Self { key, pem: crate::pem::encode("PRIVATE KEY", der.secret_der()), random: SystemRandom::new() })
    }

    /// The key; a secret.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// The key set with which its tokens are checked.
    pub fn key_set(&self) -> String {
        // An uncompressed point: 4, then two coordinates of 32 bytes.
        let point = self.key.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let key = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.key_id(), "x": encode(x), "y": encode(y)});
        format!("{:#}\n", json!({"keys": [key]}))
    }

    fn key_id(&self) -> String {
        digest::hex(self.key.public_key().as_ref()).get(..16).unwrap_or_default().to_owned()
    }

    /// A token of a service account. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// When the names are none, or the system gives no randomness.
    pub fn issue(
        &self,
        namespace: &str,
        service_account: &str,
        audience: &str,
        lifetime: Duration,
        now: i64,
    ) -> Result<String, TokenIssuerError> {
        let subject = format!("system:serviceaccount:{namespace}:{service_account}");
        if super::jwt::service_account(&subject) != Some((namespace, service_account)) {
            return Err(TokenIssuerError::Name(format!("{namespace}/{service_account}")));
        }
        let expires = now.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        let payload = json!({
            "iss": ISSUER, "sub": subject, "aud": [audience], "iat": now, "nbf": now, "exp": expires,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": service_account}},
        });
        self.sign(&json!({"alg": "ES256", "kid": self.key_id()}), &payload)
    }

    /// Signs any header and payload, for tests that need wrong ones.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn sign(&self, header: &serde_json::Value, payload: &serde_json::Value) -> Result<String, TokenIssuerError> {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|_| TokenIssuerError::Random)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}
