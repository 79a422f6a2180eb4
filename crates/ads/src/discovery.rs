//! The one seam between the server and the control plane behind it.

use base::{ObjectRef, SpiffeIdentity, secret_name};
use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};
use tokio::sync::watch;
use xds_api::envoy::config::core::v3::Node;
use xds_wire::{ResourceName, ResourceType, Version, View};

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address that the connection comes from.
    pub address: SocketAddr,
    /// The identity that authentication found; `None` on the plaintext port.
    pub identity: Option<SpiffeIdentity>,
}

/// What a connected proxy is served, for as long as it is connected; dropping it disconnects the proxy.
pub struct Subscription {
    /// The newest view of the proxy's class. The first value is complete: it holds everything that the class sees.
    pub view: watch::Receiver<Arc<View>>,
    /// Told to the control plane by being dropped.
    pub guard: Box<dyn Send>,
    /// Which secrets of its view it may have, if it has proved who it is.
    pub secrets: SecretAccess,
}

/// Which secrets of its view a proxy may have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SecretAccess {
    /// None but those that name files on its own side.
    None,
    /// Also those that were granted to gateways of its namespace (`kubernetes-gateway://`).
    Granted,
    /// All.
    All,
}

impl SecretAccess {
    /// Whether it extends to a secret.
    pub(crate) fn allows(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Granted => secret_name::is_file(name) || name.starts_with(secret_name::KUBERNETES_GATEWAY),
            Self::None => secret_name::is_file(name),
        }
    }
}

/// Why a proxy cannot be served; the stream ends with the gRPC status named at each.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `INVALID_ARGUMENT`: the node id or its metadata cannot be understood. A retry does not help.
    #[error("invalid node: {0}")]
    InvalidNode(String),
    /// `PERMISSION_DENIED`: the peer's identity is not that of the node. A retry does not help.
    #[error("not authorized: {0}")]
    NotAuthorized(String),
    /// `UNAVAILABLE`: the sources have not synced yet, or the control plane is going down. A retry helps.
    #[error("not ready: {0}")]
    NotReady(String),
}

/// A proxy has refused a response (a NACK).
#[derive(Clone, PartialEq, Debug)]
pub struct Rejection {
    /// The id of the proxy's node.
    pub proxy: Arc<str>,
    /// The type of the response.
    pub kind: ResourceType,
    /// The resources of that response which the proxy's message names, or all of them if it names none.
    pub resources: Vec<(ResourceName, Version)>,
    /// The objects behind those resources.
    pub origins: Vec<ObjectRef>,
    /// Envoy's text.
    pub message: String,
}

/// The control plane, as the server sees it.
pub trait Discovery: Send + Sync + 'static {
    /// Puts a proxy into its class. Resolves once the view of that class is complete.
    fn connect(&self, node: Node, peer: Peer) -> Pin<Box<dyn Future<Output = Result<Subscription, ConnectError>> + Send + '_>>;

    /// Takes note of a refusal. Must not block.
    fn rejected(&self, rejection: Rejection);

    /// A proxy has accepted a content that its class's view holds back because another has refused it. Must not block.
    fn accepted(&self, _kind: ResourceType, _version: Version) {}

    /// The proxy has accepted a response to a type for which it had refused one. Must not block.
    fn recovered(&self, proxy: &str, kind: ResourceType);
}
