//! The ADS server of one case: real, on a Unix socket, over one fixed view.

use ads::{ConnectError, Connections, Discovery, Options, Peer, Rejection, ResponseStatus, Server, Subscription, TypeStatus};
use anyhow::{Result, anyhow};
use std::{
    collections::BTreeSet,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::UnixListener,
    sync::watch,
    task::{AbortHandle, JoinSet},
};
use xds_api::envoy::config::core::v3::Node;
use xds_wire::{ResourceType, View};

/// A running server.
pub struct Served {
    /// Where Envoy reaches it.
    pub socket: PathBuf,
    fixed: Arc<Fixed>,
    connections: Connections,
    streams: Arc<Mutex<JoinSet<()>>>,
    task: AbortHandle,
}

impl Served {
    /// What is served from now on.
    pub fn publish(&self, view: Arc<View>) {
        self.fixed.view.send_replace(view);
    }

    /// Ends the server with all its connections; it knows nothing of them afterwards, as after a restart.
    pub fn stop(&self) {
        self.task.abort();
        self.disconnect();
    }

    /// Cuts all connections; the server goes on.
    pub fn disconnect(&self) {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Starts it again.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn start(&mut self) -> Result<()> {
        std::fs::remove_file(&self.socket)?;
        (self.connections, self.streams, self.task) = accept(&self.fixed, &self.socket)?;
        Ok(())
    }

    /// Whether Envoy is connected and has accepted what it was sent last.
    pub fn is_settled(&self) -> bool {
        let streams = self.connections.list();
        let nonce = |status: &Option<ResponseStatus>| status.as_ref().map(|status| status.nonce.clone());
        let settled = |status: &TypeStatus| status.acknowledged.is_some() && nonce(&status.sent) == nonce(&status.acknowledged);
        !streams.is_empty() && streams.iter().all(|stream| !stream.types.is_empty() && stream.types.iter().all(settled))
    }

    /// The objects behind what Envoy has refused.
    pub fn refused(&self) -> BTreeSet<String> {
        let rejections = self.fixed.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        rejections.iter().flat_map(|rejection| &rejection.origins).map(ToString::to_string).collect()
    }

    /// The names of what Envoy has refused.
    pub fn refused_resources(&self) -> BTreeSet<String> {
        let rejections = self.fixed.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        rejections.iter().flat_map(|rejection| &rejection.resources).map(|(name, _)| name.to_string()).collect()
    }

    /// What Envoy has refused, with its words.
    pub fn refusals(&self) -> String {
        let rejections = self.fixed.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        let texts: Vec<String> = rejections.iter().map(|rejection| format!("{}: {}", rejection.kind, rejection.message)).collect();
        texts.join("; ")
    }
}

/// Serves `view` to everybody who connects.
///
/// # Errors
/// If the socket cannot be made.
pub fn serve(view: Arc<View>, socket: &Path) -> Result<Served> {
    let fixed = Arc::new(Fixed { view: watch::Sender::new(view), rejections: Mutex::default() });
    let (connections, streams, task) = accept(&fixed, socket)?;
    Ok(Served { socket: socket.to_owned(), fixed, connections, streams, task })
}

type Accepting = (Connections, Arc<Mutex<JoinSet<()>>>, AbortHandle);

fn accept(fixed: &Arc<Fixed>, socket: &Path) -> Result<Accepting> {
    let (discovery, connections) = (Arc::new(FixedDiscovery(fixed.clone())), Connections::default());
    let server = Server::new(discovery, Options::default(), connections.clone()).map_err(|error| anyhow!("{error}"))?;
    let listener = UnixListener::bind(socket)?;
    let streams = Arc::new(Mutex::new(JoinSet::new()));
    let accepted = streams.clone();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = server.clone();
            // Secrets are for peers on this machine only, and that is what a Unix socket is.
            let peer = Peer { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), identity: None };
            let serving = async move { server.serve_connection(stream, peer).await };
            accepted.lock().unwrap_or_else(PoisonError::into_inner).spawn(serving);
        }
    });
    Ok((connections, streams, task.abort_handle()))
}

struct Fixed {
    view: watch::Sender<Arc<View>>,
    rejections: Mutex<Vec<Rejection>>,
}

struct FixedDiscovery(Arc<Fixed>);

impl Discovery for FixedDiscovery {
    fn connect(&self, _: Node, _: Peer) -> Pin<Box<dyn Future<Output = Result<Subscription, ConnectError>> + Send + '_>> {
        let subscription = Subscription { view: self.0.view.subscribe(), guard: Box::new(()), secrets: ads::SecretAccess::All };
        Box::pin(std::future::ready(Ok(subscription)))
    }

    fn rejected(&self, rejection: Rejection) {
        self.0.rejections.lock().unwrap_or_else(PoisonError::into_inner).push(rejection);
    }

    fn recovered(&self, _: &str, _: ResourceType) {}
}
