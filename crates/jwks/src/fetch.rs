//! Asks an issuer for its keys.

use crate::{Options, key_set, transport::Transport};
use config::JwksSource;
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// Below an issuer: where its keys are (OpenID Connect Discovery 1.0).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Why keys could not be fetched.
#[derive(thiserror::Error, Debug)]
pub enum FetchError {
    /// The address is no URL that can be asked.
    #[error("{0:?} is no http or https URL")]
    Url(String),
    /// The address is one of those that must not be asked.
    #[error("{0} is an address that must not be asked (BLOCKED_CIDRS_IN_JWKS_URIS)")]
    Blocked(std::net::IpAddr),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection or the handshake failed.
    #[error("cannot reach {host}: {source}")]
    Connect {
        /// Whom.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// What came is no HTTP.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// What came is no success.
    #[error("{url} answers {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// The answer is larger than any set of keys.
    #[error("the answer of {0} is too large")]
    TooLarge(String),
    /// The discovery document names no keys.
    #[error("{0} names no jwks_uri")]
    NoUri(String),
    /// The answer is no set of keys.
    #[error("the answer is no JSON Web Key Set with at least one key")]
    NoKeys,
}

/// Asks issuers, for others than the gate.
pub struct Fetcher(Transport);

impl Fetcher {
    /// With the certificates and addresses of the options.
    pub fn new(options: &Options) -> Self {
        Self(Transport::new(options))
    }

    /// The keys behind `source`, within `timeout`.
    ///
    /// # Errors
    /// If they cannot be had.
    pub async fn keys(&self, source: &JwksSource, timeout: Duration) -> Result<Arc<str>, FetchError> {
        keys(&self.0, source, timeout).await
    }
}

/// The keys behind `source`, within `timeout`.
///
/// # Errors
/// If they cannot be had.
pub async fn keys(transport: &Transport, source: &JwksSource, timeout: Duration) -> Result<Arc<str>, FetchError> {
    let fetched = tokio::time::timeout(timeout, fetch(transport, source)).await;
    fetched.unwrap_or(Err(FetchError::Timeout(timeout)))
}

async fn fetch(transport: &Transport, source: &JwksSource) -> Result<Arc<str>, FetchError> {
    let uri = match source {
        JwksSource::Uri(uri) => uri.to_string(),
        JwksSource::Discovery(issuer) => discover(transport, issuer).await?,
    };
    key_set::canonical(&transport.get(&uri).await?)
}

/// Asked again with every refresh: an issuer may move its keys.
async fn discover(transport: &Transport, issuer: &str) -> Result<String, FetchError> {
    let url = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
    let document: Option<Value> = serde_json::from_slice(&transport.get(&url).await?).ok();
    let uri = document.as_ref().and_then(|document| document.get("jwks_uri")).and_then(Value::as_str).map(str::to_owned);
    uri.ok_or(FetchError::NoUri(url))
}
