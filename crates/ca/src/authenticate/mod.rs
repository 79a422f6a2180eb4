//! Who is calling: from a certificate of ours, from a token, or from what a trusted gateway says of its own caller.

mod cache;
mod client_certificate;
mod forwarded;
mod jwks;
mod jwt;
mod token_issuer;
mod tokens;

pub use client_certificate::ClientCertificate;
pub use forwarded::FORWARDED_CERTIFICATE_HEADER;
pub use jwks::{KeySet, KeySetError};
pub use jwt::{Claims, Expected, PodReference, TokenError, verify};
pub use token_issuer::{TokenIssuer, TokenIssuerError};
pub use tokens::{FileKeys, KeyDocument, KeySource, ReviewError, ReviewedToken, TokenReviewer, Tokens, TokensSettings};

use crate::{authority::Authority, metrics::Metrics, settings::TrustDomains};
use base::{Cidr, ClusterId, SpiffeIdentity};
use std::{net::IpAddr, sync::Arc, time::SystemTime};

/// An authenticated caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Namespace and service account from the credential, in the trust domain that the mesh has now.
    pub identity: SpiffeIdentity,
    /// What has proved it.
    pub credential: Credential,
    /// The pod that a token is bound to.
    pub pod: Option<PodReference>,
    /// The cluster whose token it was; `None` for certificates and for tokens of other issuers.
    pub cluster: Option<ClusterId>,
}

/// What proves an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Credential {
    /// A certificate of ours, in the handshake.
    Certificate,
    /// A service-account token, in the header `authorization`.
    Token,
    /// A certificate that a trusted gateway has checked, in the header [`FORWARDED_CERTIFICATE_HEADER`].
    ForwardedCertificate,
}

impl Credential {
    /// A word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::ForwardedCertificate => "forwarded_certificate",
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
    /// The header [`FORWARDED_CERTIFICATE_HEADER`].
    pub forwarded: Option<&'a str>,
    /// The address of the peer.
    pub address: Option<IpAddr>,
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
    /// The gateway says nothing of its caller that could be an identity.
    #[error("the certificate that the gateway has forwarded holds no SPIFFE identity")]
    Forwarded,
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
            Self::Forwarded => "forwarded_certificate",
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
    trusted_gateways: Vec<Cidr>,
}

impl Authenticator {
    /// Takes the trust domains from `authority`.
    pub fn new(authority: Arc<Authority>, tokens: Tokens, metrics: Metrics) -> Self {
        Self { authority, tokens, metrics, trusted_gateways: Vec::new() }
    }

    /// Believes what gateways in these ranges say of their callers (`TRUSTED_GATEWAY_CIDR`). Istio believes every local
    /// process then, too; here it has to be listed.
    pub fn with_trusted_gateways(self, trusted_gateways: Vec<Cidr>) -> Self {
        Self { trusted_gateways, ..self }
    }

    /// Where clusters are added and keys refreshed.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The caller, by the first of these that proves one: its certificate, its token, what a trusted gateway says; Istio's
    /// order.
    ///
    /// # Errors
    /// See [`Refusal`]; counted here, logged by whoever answers. Of several the first.
    pub async fn authenticate(&self, presented: Presented<'_>, now: SystemTime) -> Result<Caller, Refusal> {
        let caller = self.decide(presented, now).await;
        if let Err(refusal) = &caller {
            self.metrics.authentication_failed(refusal.reason());
        }
        caller
    }

    async fn decide(&self, presented: Presented<'_>, now: SystemTime) -> Result<Caller, Refusal> {
        let mut refusals = Vec::new();
        match presented.certificate.map(|certificate| self.by_certificate(certificate, now)) {
            Some(Ok(caller)) => return Ok(caller),
            refused => refusals.extend(refused.and_then(Result::err)),
        }
        if let Some(token) = presented.authorization.and_then(bearer) {
            match self.by_token(token, presented.cluster.unwrap_or_default(), now).await {
                Ok(caller) => return Ok(caller),
                Err(refusal) => refusals.push(refusal),
            }
        }
        let trusted = presented.address.is_some_and(|address| self.trusts(address));
        match presented.forwarded.filter(|_| trusted).map(|header| self.by_gateway(header)) {
            Some(Ok(caller)) => return Ok(caller),
            refused => refusals.extend(refused.and_then(Result::err)),
        }
        Err(refusals.into_iter().next().unwrap_or(Refusal::NoCredential))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_gateways.iter().any(|range| range.0.contains(&address.to_canonical()))
    }

    fn by_certificate(&self, certificate: &ClientCertificate, now: SystemTime) -> Result<Caller, Refusal> {
        if certificate.expires <= crate::signer::seconds(now) {
            return Err(Refusal::CertificateExpired);
        }
        self.of_mesh(certificate.identity.clone(), Credential::Certificate)
    }

    fn by_gateway(&self, header: &str) -> Result<Caller, Refusal> {
        let identity = forwarded::identity(header).ok_or(Refusal::Forwarded)?;
        self.of_mesh(identity, Credential::ForwardedCertificate)
    }

    /// An identity of the mesh or of an alias, in the trust domain that the mesh has now.
    fn of_mesh(&self, identity: SpiffeIdentity, credential: Credential) -> Result<Caller, Refusal> {
        let domains = self.domains()?;
        if !domains.accepts(&identity.trust_domain) {
            return Err(Refusal::TrustDomain(identity.trust_domain));
        }
        let identity = SpiffeIdentity { trust_domain: domains.own.clone(), ..identity };
        Ok(Caller { identity, credential, pod: None, cluster: None })
    }

    async fn by_token(&self, token: &str, cluster: &str, now: SystemTime) -> Result<Caller, Refusal> {
        let domains = self.domains()?;
        let checked = self.tokens.check(cluster, token, now).await?;
        self.metrics.token_checked(checked.by.as_str());
        let Claims { namespace, service_account, pod, .. } = &*checked.claims;
        let identity =
            SpiffeIdentity { trust_domain: domains.own.clone(), namespace: namespace.clone(), service_account: service_account.clone() };
        Ok(Caller { identity, credential: Credential::Token, pod: pod.clone(), cluster: checked.cluster })
    }

    fn domains(&self) -> Result<Arc<TrustDomains>, Refusal> {
        self.authority.trust_domains().ok_or_else(|| Refusal::NotReady("the mesh configuration is not read yet".into()))
    }
}

/// The scheme's name has no case.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}
