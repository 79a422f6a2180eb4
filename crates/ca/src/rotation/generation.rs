//! What a rotation leads from and to.

use crate::{
    authority::AuthorityError,
    root::KeyMaterial,
    signer::{Bundle, Signer},
};
use std::time::SystemTime;

/// What signs, what is trusted with it, and the trust domain of the identities.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Generation {
    /// What signs and what is trusted.
    pub material: KeyMaterial,
    /// Goes into new certificates.
    pub trust_domain: String,
}

impl Generation {
    /// The signer of this generation, which trusts `bundle`.
    ///
    /// # Errors
    /// When its certificate cannot be used, or `bundle` does not cover it.
    pub fn signer(&self, bundle: &Bundle, now: SystemTime) -> Result<Signer, AuthorityError> {
        Signer::new(&KeyMaterial { roots: bundle.pem.clone(), ..self.material.clone() }, now)
    }

    /// What it trusts by itself.
    ///
    /// # Errors
    /// When a root cannot be parsed.
    pub fn bundle(&self) -> Result<Bundle, AuthorityError> {
        Bundle::parse(&self.material.roots)
    }

    /// Whether the two differ in nothing that matters to workloads. Revocation lists are passed on as they are.
    pub fn is_same(&self, other: &Self) -> bool {
        let (own, others) = (&self.material, &other.material);
        self.trust_domain == other.trust_domain
            && own.certificate == others.certificate
            && own.key == others.key
            && own.chain == others.chain
            && own.roots == others.roots
    }
}
