//! Where the CA's own key and certificates come from.

mod plugged_in;
mod self_signed;
mod store;

pub use plugged_in::{PluggedIn, PluggedInError};
pub use self_signed::{generate, load_or_generate};
pub use store::{BundleWriter, FileRootStore, RootData, RootStore, Saved, StoreError, StoredRoot};

/// A signing certificate with its key, and what is distributed with it; all PEM, as in Istio's Secrets.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyMaterial {
    /// The certificate that signs (`ca-cert.pem`).
    pub certificate: String,
    /// Its private key (`ca-key.pem`).
    pub key: String,
    /// Intermediates between it and a root (`cert-chain.pem`); empty for a root.
    pub chain: String,
    /// What workloads trust (`root-cert.pem`).
    pub roots: String,
    /// Revocation lists that are passed on (`ca-crl.pem`).
    pub crl: Option<String>,
}

impl std::fmt::Debug for KeyMaterial {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyMaterial").field("certificate", &self.certificate).field("roots", &self.roots).finish_non_exhaustive()
    }
}
