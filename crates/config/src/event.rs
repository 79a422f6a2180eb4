//! What a source says: the only thing that enters a turn.

use base::{ClusterId, Diagnostic, Namespace};
use istio_api::mesh::{MeshConfig, MeshNetworks};
use istio_api::security::request_authentication::JwtRule;
use istio_api::{AnyObject, Kind};
use std::{net::IpAddr, sync::Arc};

/// One change seen by one source. A batch of them makes one turn.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// The cluster that the source watches; the configuration cluster for mesh-wide settings.
    pub cluster: ClusterId,
    /// What happened there.
    pub change: Change,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The object was created or replaced.
    Set(AnyObject),
    /// The object is gone.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its namespace, empty for a kind without namespaces.
        namespace: Namespace,
        /// Its name.
        name: Arc<str>,
    },
    /// The mesh-wide settings were replaced.
    Mesh(Arc<MeshConfig>),
    /// The networks were replaced.
    Networks(Arc<MeshNetworks>),
    /// The keys of an issuer of tokens were fetched, or have become too old to be trusted.
    Jwks {
        /// Where they are from.
        source: JwksSource,
        /// The JSON Web Key Set; `None` refuses all tokens of the issuer.
        keys: Option<Arc<str>>,
    },
    /// A name was looked up: that of a gateway between networks, which proxies cannot look up themselves.
    Addresses {
        /// The name.
        name: Arc<str>,
        /// Its addresses, sorted; none if nobody needs them any more.
        addresses: Arc<[IpAddr]>,
    },
    /// Everything that is wrong with one source of text (a file), replacing what was said of it before.
    Findings {
        /// The file, as diagnostics name it.
        source: Arc<str>,
        /// Empty once it is mended.
        diagnostics: Vec<Diagnostic>,
    },
    /// The source has sent everything that existed when it started.
    Synced,
}

/// Where the keys of an issuer of tokens are, if a RequestAuthentication does not hold them itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum JwksSource {
    /// `jwksUri`
    Uri(Arc<str>),
    /// The issuer tells by OpenID Connect discovery.
    Discovery(Arc<str>),
}

impl JwksSource {
    /// Where the keys of a rule are; `None` if the rule holds them.
    pub fn of(rule: &JwtRule) -> Option<Self> {
        match (rule.jwks.is_empty(), rule.jwks_uri.is_empty()) {
            (false, _) => None,
            (true, false) => Some(Self::Uri(Arc::from(rule.jwks_uri.as_str()))),
            (true, true) => Some(Self::Discovery(Arc::from(rule.issuer.as_str()))),
        }
    }
}
