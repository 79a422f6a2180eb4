//! Who is calling: from a certificate of ours, or from a Kubernetes service-account token.

mod cache;
mod client_certificate;
mod jwks;
mod jwt;
mod token_issuer;
mod tokens;

pub use client_certificate::ClientCertificate;
pub use jwks::{KeySet, KeySetError};
pub use jwt::{Claims, Expected, PodReference, TokenError, verify};
pub use token_issuer::{TokenIssuer, TokenIssuerError};
pub use tokens::{FileKeys, KeyDocument, KeySource, ReviewError, ReviewedToken, TokenReviewer, Tokens, TokensSettings};

use crate::{authority::Authority, metrics::Metrics};
use base::SpiffeIdentity;
use std::{sync::Arc, time::SystemTime};

/// An authenticated caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Namespace and service account from the credential, in the trust domain that the mesh has now.
    pub identity: SpiffeIdentity,
    /// What has proved it.
    pub credential: Credential,
    /// The pod that a token is bound to.
    pub pod: Option<PodReference>,
}

/// What proves an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Credential {
    /// A certificate of ours, in the handshake.
    Certificate,
    /// A service-account token, in the header `authorization`.
    Token,
}

impl Credential {
    /// A word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
        }
    }
}

/// What a caller has presented.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// From the handshake, verified there.
    pub certificate: Option<&'a ClientCertificate>,
    /// The header `authorization`.
    pub authorization: Option<&'a str>,
    /// The header `clusterid`; empty or missing means our own cluster, as in Istio.
    pub cluster: Option<&'a str>,
}

/// Why a caller is not who it says.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Neither a certificate nor a token.
    #[error("no client certificate and no bearer token was presented")]
    NoCredential,
    /// The certificate was valid at the handshake and is not any more.
    #[error("the client certificate has expired")]
    CertificateExpired,
    /// A certificate of a root that is trusted here, for another mesh.
    #[error("the client certificate is of the trust domain {0:?}, which is neither that of the mesh nor an alias of it")]
    TrustDomain(String),
    /// The token is none of ours.
    #[error("the token is refused: {0}")]
    Token(#[from] TokenError),
    /// The header `clusterid` names a cluster without keys.
    #[error("no cluster of the name {0:?} is known here")]
    UnknownCluster(String),
    /// The question could not be answered. A retry helps.
    #[error("the token could not be checked: {0}")]
    NotReady(String),
}

impl Refusal {
    /// A word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::CertificateExpired => "certificate_expired",
            Self::TrustDomain(_) => "trust_domain",
            Self::Token(error) => error.reason(),
            Self::UnknownCluster(_) => "unknown_cluster",
            Self::NotReady(_) => "not_ready",
        }
    }

    /// The gRPC status: `UNAVAILABLE` if a retry helps, else `UNAUTHENTICATED`.
    pub fn status(&self) -> tonic::Status {
        match self {
            Self::NotReady(_) => tonic::Status::unavailable(self.to_string()),
            _ => tonic::Status::unauthenticated(self.to_string()),
        }
    }
}

/// Decides who calls, for certificates and for configuration alike.
pub struct Authenticator {
    authority: Arc<Authority>,
    tokens: Tokens,
    metrics: Metrics,
}

impl Authenticator {
    /// Takes the trust domains from `authority`.
    pub fn new(authority: Arc<Authority>, tokens: Tokens, metrics: Metrics) -> Self {
        Self { authority, tokens, metrics }
    }

    /// Where clusters are added and keys refreshed.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The caller, by its certificate if there is one, else by its token; Istio's order.
    ///
    /// # Errors
    /// See [`Refusal`]; counted here, logged by whoever answers.
    pub async fn authenticate(&self, presented: Presented<'_>, now: SystemTime) -> Result<Caller, Refusal> {
        let caller = self.decide(presented, now).await;
        if let Err(refusal) = &caller {
            self.metrics.authentication_failed(refusal.reason());
        }
        caller
    }

    async fn decide(&self, presented: Presented<'_>, now: SystemTime) -> Result<Caller, Refusal> {
        let domains = self.authority.trust_domains().ok_or_else(|| Refusal::NotReady("the mesh configuration is not read yet".into()))?;
        if let Some(certificate) = presented.certificate {
            if certificate.expires <= crate::signer::seconds(now) {
                return Err(Refusal::CertificateExpired);
            }
            let identity = &certificate.identity;
            if !domains.accepts(&identity.trust_domain) {
                return Err(Refusal::TrustDomain(identity.trust_domain.clone()));
            }
            let identity = SpiffeIdentity { trust_domain: domains.own.clone(), ..identity.clone() };
            return Ok(Caller { identity, credential: Credential::Certificate, pod: None });
        }
        let token = presented.authorization.and_then(bearer).ok_or(Refusal::NoCredential)?;
        let (claims, by) = self.tokens.check(presented.cluster.unwrap_or_default(), token, now).await?;
        self.metrics.token_checked(by.as_str());
        let Claims { namespace, service_account, pod, .. } = &*claims;
        let identity =
            SpiffeIdentity { trust_domain: domains.own.clone(), namespace: namespace.clone(), service_account: service_account.clone() };
        Ok(Caller { identity, credential: Credential::Token, pod: pod.clone() })
    }
}

/// The scheme's name has no case.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}
