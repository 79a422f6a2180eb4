//! Issues certificates: the one place where something is signed.

use crate::{
    pem::{self, PemError},
    root::StoreError,
    settings::{Settings, TrustDomains},
    signer::{Signer, seconds},
};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base::SpiffeIdentity;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Certificates begin to be valid this much earlier, for clocks that are late (as in Istio).
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// Why a CA cannot be used, or a certificate not be issued.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file or a key of a Secret is no PEM of the kind expected.
    #[error("{0} {1}")]
    Pem(&'static str, PemError),
    /// A PEM block holds no X.509 certificate.
    #[error("{0} holds something that is no X.509 certificate")]
    NotX509(&'static str),
    /// The signing certificate is none.
    #[error("ca-cert.pem may not sign certificates: it needs basicConstraints CA:TRUE, and keyCertSign if it has a key usage")]
    NotCa,
    /// A kind of key that cannot sign here.
    #[error("ca-key.pem holds a key that is not supported; use ECDSA P-256, P-384 or RSA with 2048 bits or more")]
    UnsupportedKey,
    /// Certificate and key are not a pair.
    #[error("ca-key.pem is not the key of ca-cert.pem")]
    KeyMismatch,
    /// Nobody would trust what is signed.
    #[error("ca-cert.pem does not chain to root-cert.pem; put the intermediates between them into cert-chain.pem")]
    Untrusted,
    /// The signing certificate, an intermediate or the root is over.
    #[error("the signing certificate or one above it has expired; replace it")]
    Expired,
    /// More than the operator allows; refused and not shortened, as in Istio.
    #[error("the requested lifetime of {asked} s is over the maximum of {max} s (MAX_WORKLOAD_CERT_TTL)")]
    TtlTooLong {
        /// Seconds asked for.
        asked: i64,
        /// The most seconds that are granted.
        max: u64,
    },
    /// The trust domain of the mesh has not been read yet.
    #[error("the mesh configuration has not been read yet")]
    NotReady,
    /// The library or the system has failed.
    #[error("cannot sign: {0}")]
    Signing(#[from] rcgen::Error),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// The store of the root.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a certificate says of its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A workload.
    Workload(SpiffeIdentity),
    /// A server that is found by name, as istiod itself.
    Server {
        /// DNS names.
        names: Vec<String>,
        /// Addresses.
        addresses: Vec<IpAddr>,
    },
}

/// An issued certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// When it is not valid any more: seconds since 1970.
    pub expires: i64,
}

/// The certificate authority. It signs with one [`Signer`] at a time, which may be replaced while it works.
pub struct Authority {
    settings: Settings,
    signer: watch::Sender<Arc<Signer>>,
    trust_domains: RwLock<Option<Arc<TrustDomains>>>,
    random: SystemRandom,
}

impl Authority {
    /// An authority that signs with `signer`. It issues nothing to workloads before it knows the trust domains.
    pub fn new(signer: Signer, settings: Settings) -> Self {
        Self { settings, signer: watch::Sender::new(Arc::new(signer)), trust_domains: RwLock::default(), random: SystemRandom::new() }
    }

    /// What the operator has decided.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What signs at present.
    pub fn signer(&self) -> Arc<Signer> {
        self.signer.borrow().clone()
    }

    /// Follows what signs and what is trusted.
    pub fn follow(&self) -> watch::Receiver<Arc<Signer>> {
        self.signer.subscribe()
    }

    /// From now on signs with this one.
    pub fn replace(&self, signer: Signer) {
        self.signer.send_replace(Arc::new(signer));
    }

    /// The trust domains of the mesh; `None` before they are known.
    pub fn trust_domains(&self) -> Option<Arc<TrustDomains>> {
        self.trust_domains.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the trust domains of the mesh.
    pub fn set_trust_domains(&self, domains: TrustDomains) {
        *self.trust_domains.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(domains));
    }

    /// How long a certificate is valid for a workload that asks for so many seconds; none or less is the default.
    ///
    /// # Errors
    /// [`AuthorityError::TtlTooLong`].
    pub fn lifetime(&self, asked: i64) -> Result<Duration, AuthorityError> {
        let max = self.settings.max_workload_ttl.as_secs();
        match u64::try_from(asked) {
            Ok(0) | Err(_) => Ok(self.settings.default_workload_ttl),
            Ok(asked) if asked <= max => Ok(Duration::from_secs(asked)),
            Ok(_) => Err(AuthorityError::TtlTooLong { asked, max }),
        }
    }

    /// Signs a certificate for a public key. It never outlives what signs it.
    ///
    /// # Errors
    /// When the signing certificate has expired, or the library or the system fails.
    pub fn issue(
        &self,
        signer: &Signer,
        key: &SubjectPublicKeyInfo,
        subject: &Subject,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        self.sign(signer, key, subject, lifetime, now)
    }

    fn sign(
        &self,
        signer: &Signer,
        key: &impl PublicKeyData,
        subject: &Subject,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        let began = seconds(now);
        if signer.expires <= began {
            return Err(AuthorityError::Expired);
        }
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let expires = began.saturating_add(lifetime).min(signer.expires);
        let mut params = CertificateParams::default();
        // Empty, so that the names become critical, as Istio's are.
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = alternative_names(subject)?;
        params.serial_number = Some(serial(&self.random)?);
        params.not_before = at(began) - CLOCK_SKEW;
        params.not_after = at(expires);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(Issued { certificate: params.signed_by(key, &signer.issuer)?.into(), expires })
    }

    /// Makes a key and a certificate for a server of our own.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn serving_certificate(
        &self,
        subject: &Subject,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, i64), AuthorityError> {
        let key = KeyPair::generate()?;
        let signer = self.signer();
        let issued = self.sign(&signer, &key, subject, lifetime, now)?;
        let chain = std::iter::once(issued.certificate).chain(signer.intermediate_ders.iter().cloned()).collect();
        Ok((chain, PrivateKeyDer::from(key), issued.expires))
    }
}

/// The answer to a CSR: the leaf, each intermediate, and last all roots in one text, as Istio's agents read it.
pub fn answer(issued: &Issued, signer: &Signer) -> Vec<String> {
    let leaf = pem::encode_certificate(&issued.certificate);
    std::iter::once(leaf).chain(signer.intermediates.iter().cloned()).chain([signer.bundle.pem.clone()]).collect()
}

fn alternative_names(subject: &Subject) -> Result<Vec<SanType>, AuthorityError> {
    Ok(match subject {
        Subject::Workload(identity) => vec![SanType::URI(identity.to_string().try_into()?)],
        Subject::Server { names, addresses } => {
            let mut all = Vec::new();
            for name in names {
                all.push(SanType::DnsName(name.as_str().try_into()?));
            }
            all.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
            all
        }
    })
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A serial number of 127 random bits. The library's own is derived from the key, and would repeat with it.
pub(crate) fn random_serial() -> Result<SerialNumber, AuthorityError> {
    serial(&SystemRandom::new())
}

fn serial(random: &SystemRandom) -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0_u8; 16];
    random.fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    // Positive, and never zero.
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}
