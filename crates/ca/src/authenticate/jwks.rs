//! A JSON Web Key Set (RFC 7517) becomes keys that signatures can be checked with.

use aws_lc_rs::{
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RsaParameters, UnparsedPublicKey,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

/// Why a key set cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON of that shape.
    #[error("is no JSON Web Key Set: {0}")]
    Json(String),
    /// None of its keys is of a kind that is known.
    #[error("holds no RSA key and no EC key on P-256, P-384 or P-521 for signatures")]
    Empty,
}

/// The public keys of an issuer of tokens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, if it says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ec { curve: Curve, point: Vec<u8> },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Curve {
    P256,
    P384,
    P521,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Fields {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// An algorithm of RFC 7518 that tokens may be signed with. `none` and the symmetric ones are not among them.
enum Algorithm {
    Rsa(&'static RsaParameters),
    Ec(Curve, &'static EcdsaVerificationAlgorithm),
}

fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Algorithm::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Algorithm::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        "PS256" => Algorithm::Rsa(&RSA_PSS_2048_8192_SHA256),
        "PS384" => Algorithm::Rsa(&RSA_PSS_2048_8192_SHA384),
        "PS512" => Algorithm::Rsa(&RSA_PSS_2048_8192_SHA512),
        "ES256" => Algorithm::Ec(Curve::P256, &ECDSA_P256_SHA256_FIXED),
        "ES384" => Algorithm::Ec(Curve::P384, &ECDSA_P384_SHA384_FIXED),
        "ES512" => Algorithm::Ec(Curve::P521, &ECDSA_P521_SHA512_FIXED),
        _ => return None,
    })
}

/// Whether a token may name this algorithm at all.
pub(crate) fn is_allowed(name: &str) -> bool {
    algorithm(name).is_some()
}

/// What the keys say to a signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Check {
    /// A key of the set has made it.
    Good,
    /// No key has.
    Bad,
    /// The set has no such key; another one may.
    UnknownKey,
}

impl KeySet {
    /// Reads a key set. Keys of other kinds, and those for encryption, are passed over.
    ///
    /// # Errors
    /// See [`KeySetError`].
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        let document: Document = serde_json::from_str(text).map_err(|error| KeySetError::Json(error.to_string()))?;
        let fields = document.keys.into_iter().filter_map(|key| serde_json::from_value::<Fields>(key).ok());
        let keys: Vec<Key> = fields.filter_map(Key::new).collect();
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(Self { keys }) }
    }

    /// Whether nothing can be checked.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks a signature. A token that names its key is checked with that one only.
    pub(crate) fn check(&self, algorithm: &str, id: Option<&str>, signed: &[u8], signature: &[u8]) -> Check {
        let mut found = false;
        for key in self.keys.iter().filter(|key| id.is_none() || key.id.is_none() || key.id.as_deref() == id) {
            found = true;
            if key.verify(algorithm, signed, signature) {
                return Check::Good;
            }
        }
        // A set may hold a key without a name beside others: the one that is meant may still be missing.
        let named = id.is_none() || self.keys.iter().any(|key| key.id.as_deref() == id);
        if found && named { Check::Bad } else { Check::UnknownKey }
    }
}

impl Key {
    fn new(fields: Fields) -> Option<Self> {
        if fields.purpose.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let material = match fields.kty.as_str() {
            "RSA" => Material::Rsa { modulus: bytes(fields.n)?, exponent: bytes(fields.e)? },
            "EC" => {
                let (curve, length) = match fields.crv?.as_str() {
                    "P-256" => (Curve::P256, 32),
                    "P-384" => (Curve::P384, 48),
                    "P-521" => (Curve::P521, 66),
                    _ => return None,
                };
                let (x, y) = (bytes(fields.x)?, bytes(fields.y)?);
                if x.len() != length || y.len() != length {
                    return None;
                }
                // An uncompressed point.
                Material::Ec { curve, point: [[4].as_slice(), &x, &y].concat() }
            }
            _ => return None,
        };
        Some(Self { id: fields.kid, algorithm: fields.alg, material })
    }

    fn verify(&self, name: &str, signed: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.as_deref().is_some_and(|own| own != name) {
            return false;
        }
        match (algorithm(name), &self.material) {
            (Some(Algorithm::Rsa(parameters)), Material::Rsa { modulus, exponent }) => {
                PublicKeyComponents { n: modulus.as_slice(), e: exponent.as_slice() }.verify(parameters, signed, signature).is_ok()
            }
            (Some(Algorithm::Ec(curve, parameters)), Material::Ec { curve: own, point }) if curve == *own => {
                UnparsedPublicKey::new(parameters, point).verify(signed, signature).is_ok()
            }
            _ => false,
        }
    }
}
