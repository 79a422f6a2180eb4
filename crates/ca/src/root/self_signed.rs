//! A root of our own making.

use super::{KeyMaterial, RootData, RootStore, Saved, StoreError};
use crate::{
    authority::{AuthorityError, random_serial},
    settings::{KeyAlgorithm, RsaBits},
};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose, RsaKeySize};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;

/// Makes a root with a new key. Its organization is the trust domain, as in Istio; its common name is new each time, so
/// that two roots are told apart while one takes the place of the other.
///
/// # Errors
/// When the system gives no randomness.
pub fn generate(trust_domain: &str, algorithm: KeyAlgorithm, ttl: Duration, now: SystemTime) -> Result<KeyMaterial, AuthorityError> {
    let key = match algorithm {
        KeyAlgorithm::EcdsaP256 => KeyPair::generate()?,
        KeyAlgorithm::Rsa(bits) => {
            let size = match bits {
                RsaBits::Bits2048 => RsaKeySize::_2048,
                RsaBits::Bits3072 => RsaKeySize::_3072,
                RsaBits::Bits4096 => RsaKeySize::_4096,
            };
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size)?
        }
    };
    let serial = random_serial()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, trust_domain);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("root {}", serial.to_string().replace(':', "").get(..8).unwrap_or_default()));
    params.serial_number = Some(serial);
    params.not_before = OffsetDateTime::from(now) - crate::authority::CLOCK_SKEW;
    params.not_after = OffsetDateTime::from(now) + ttl;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?.pem();
    Ok(KeyMaterial { roots: certificate.clone(), certificate, key: key.serialize_pem(), chain: String::new(), crl: None })
}

/// The root of a store. If none is there, one is made and kept; of several replicas that try this at once, the first
/// wins, and the others take its root.
///
/// # Errors
/// When the store cannot be read or written, or no root can be made.
pub async fn load_or_generate(
    store: &dyn RootStore,
    make: impl Fn() -> Result<KeyMaterial, AuthorityError>,
) -> Result<super::StoredRoot, AuthorityError> {
    // Twice is enough: a root that somebody else has just saved is there at the second attempt.
    for _ in 0..3 {
        if let Some(stored) = store.load().await? {
            return Ok(stored);
        }
        let data = RootData::of(make()?);
        if let Saved::Done(stored) = store.save(&data, None).await? {
            tracing::info!("a new self-signed root was made");
            return Ok(stored);
        }
    }
    Err(StoreError("the root vanishes again and again; is something else writing to the store?".to_string()).into())
}
