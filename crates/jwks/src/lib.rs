//! The keys of those who issue tokens (JSON Web Key Sets), fetched before they are needed.
//!
//! In: the events of the sources. Out: the same events, and [`Change::Jwks`](config::Change::Jwks) for every issuer that a
//! RequestAuthentication names; such an object waits until its keys were asked for once, so that no proxy refuses good tokens
//! only because a policy is new.
//! Never: a turn that waits for a network, a change where nothing has changed, or keys older than [`Options::lifetime`].
//! Read first: `gate.rs`, the way of an event; then `issuer.rs`, the life of one issuer's keys.

mod fetch;
mod gate;
mod issuer;
mod keeper;
mod key_set;
mod metrics;
pub mod store;
mod transport;

pub use fetch::{FetchError, Fetcher};
pub use gate::through;
pub use store::{FileKeyStore, KeyStore};

use base::Cidr;
use std::{path::PathBuf, time::Duration};

/// How keys are fetched.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often keys are asked for again (`PILOT_JWT_PUB_KEY_REFRESH_INTERVAL`).
    pub refresh: Duration,
    /// How long after a failure the next attempt comes; twice as long after each further one, up to a minute.
    pub retry: Duration,
    /// How long keys are good for while their issuer does not answer. After that its tokens are refused.
    pub lifetime: Duration,
    /// Whether Envoys fetch what is behind a `jwksUri` (`PILOT_JWT_ENABLE_REMOTE_JWKS=envoy`), so that nobody else has to.
    pub uris_elsewhere: bool,
    /// A file of certificates (PEM) to trust beside those of the system.
    pub roots: Option<PathBuf>,
    /// Addresses that are never asked (`BLOCKED_CIDRS_IN_JWKS_URIS`): whoever may write policies could make istiod reach
    /// what they cannot.
    pub blocked: Vec<Cidr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(20 * 60),
            retry: Duration::from_secs(1),
            lifetime: Duration::from_secs(24 * 60 * 60),
            uris_elsewhere: false,
            roots: None,
            blocked: Vec::new(),
        }
    }
}

/// Further certificates to trust, where the chart mounts them.
const EXTRA_ROOTS: &str = "/cacerts/extra.pem";

impl Options {
    /// Reads them under Istio's names; `variable` gives the value of an environment variable. What is not understood counts
    /// as not set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let default = Self::default();
        let refresh = variable("PILOT_JWT_PUB_KEY_REFRESH_INTERVAL").and_then(|text| text.parse::<istio_api::Duration>().ok());
        let blocked = variable("BLOCKED_CIDRS_IN_JWKS_URIS").unwrap_or_default();
        Self {
            refresh: refresh.map_or(default.refresh, |refresh| refresh.0).max(Duration::from_secs(1)),
            roots: Some(PathBuf::from(EXTRA_ROOTS)).filter(|path| path.is_file()),
            uris_elsewhere: variable("PILOT_JWT_ENABLE_REMOTE_JWKS").is_some_and(|mode| mode == "envoy"),
            blocked: blocked.split(',').filter_map(|range| range.trim().parse().ok()).collect(),
            ..default
        }
    }
}
