//! The ADS server of one case: real, on a Unix socket, over one fixed view.

use ads::{ConnectError, Connections, Discovery, Options, Peer, Rejection, Server, Subscription};
use anyhow::{Result, anyhow};
use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{net::UnixListener, sync::watch};
use xds_api::envoy::config::core::v3::Node;
use xds_wire::{ResourceType, View};

/// A running server.
pub struct Served {
    /// Where Envoy reaches it.
    pub socket: PathBuf,
    fixed: Arc<Fixed>,
}

impl Served {
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
    let discovery = Arc::new(FixedDiscovery(fixed.clone()));
    let server = Server::new(discovery, Options::default(), Connections::default()).map_err(|error| anyhow!("{error}"))?;
    let listener = UnixListener::bind(socket)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = server.clone();
            // Secrets are for peers on this machine only, and that is what a Unix socket is.
            let peer = Peer { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), identity: None };
            tokio::spawn(async move { server.serve_connection(stream, peer).await });
        }
    });
    Ok(Served { socket: socket.to_owned(), fixed })
}

struct Fixed {
    view: watch::Sender<Arc<View>>,
    rejections: Mutex<Vec<Rejection>>,
}

struct FixedDiscovery(Arc<Fixed>);

impl Discovery for FixedDiscovery {
    fn connect(&self, _: Node, _: Peer) -> Pin<Box<dyn Future<Output = Result<Subscription, ConnectError>> + Send + '_>> {
        let subscription = Subscription { view: self.0.view.subscribe(), guard: Box::new(()) };
        Box::pin(std::future::ready(Ok(subscription)))
    }

    fn rejected(&self, rejection: Rejection) {
        self.0.rejections.lock().unwrap_or_else(PoisonError::into_inner).push(rejection);
    }

    fn recovered(&self, _: &str, _: ResourceType) {}
}
