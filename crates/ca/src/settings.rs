//! What the operator decides about certificates.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The kind of a key that the CA makes for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256: a signature costs a seventeenth of one with RSA.
    #[default]
    EcdsaP256,
    /// RSA with so many bits: 2048, 3072 or 4096.
    Rsa(RsaBits),
}

/// Sizes of RSA keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RsaBits {
    /// 2048 bits.
    Bits2048,
    /// 3072 bits.
    Bits3072,
    /// 4096 bits.
    Bits4096,
}

impl KeyAlgorithm {
    /// The algorithm for a value of Istio's `CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE`; `None` for a size that is not made.
    pub fn rsa(bits: u32) -> Option<Self> {
        Some(Self::Rsa(match bits {
            2048 => RsaBits::Bits2048,
            3072 => RsaBits::Bits3072,
            4096 => RsaBits::Bits4096,
            _ => return None,
        }))
    }
}

/// Lifetimes and keys, with Istio's defaults (`CITADEL_SELF_SIGNED_CA_CERT_TTL`, `DEFAULT_WORKLOAD_CERT_TTL`,
/// `MAX_WORKLOAD_CERT_TTL`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long a self-signed root is valid.
    pub root_ttl: Duration,
    /// The key of a self-signed root.
    pub root_key: KeyAlgorithm,
    /// How long a workload's certificate is valid if the workload does not say.
    pub default_workload_ttl: Duration,
    /// A workload that asks for more is refused.
    pub max_workload_ttl: Duration,
    /// A signing certificate with less than this part of its life left is warned of, in percent
    /// (`CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE`).
    pub grace_percent: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            root_ttl: 3650 * DAY,
            root_key: KeyAlgorithm::default(),
            default_workload_ttl: DAY,
            max_workload_ttl: 90 * DAY,
            grace_percent: 20,
        }
    }
}

/// The trust domains of the mesh.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustDomains {
    /// Goes into new certificates.
    pub own: String,
    /// Others that callers may still be of, and that proxies accept.
    pub aliases: Vec<String>,
}

impl TrustDomains {
    /// Whether identities of this trust domain belong to the mesh.
    pub fn accepts(&self, trust_domain: &str) -> bool {
        self.own == trust_domain || self.aliases.iter().any(|alias| alias == trust_domain)
    }
}
