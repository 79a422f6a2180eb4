//! The window onto the control plane: readiness, metrics and Istio's debug pages.
//!
//! One file for each group of pages; all read the cut that the pipeline published last, and none can change anything.

mod ca;
mod config_dump;
mod debug;
mod findings;
mod metrics;
mod objects;
mod proxies;
mod ready;
mod server;
mod services;
mod timestamp;

use crate::{
    discovery::Front,
    ending::{Ending, last_of_its_connection},
    identity::RotationHandle,
    pipeline::Published,
};
use ads::Connections;
use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

/// Everything that pages may look at.
#[derive(Clone)]
pub struct Window {
    /// The newest cut.
    pub readable: watch::Receiver<Arc<Published>>,
    /// What proxies refuse.
    pub front: Arc<Front>,
    /// Who is connected.
    pub connections: Connections,
    /// The metrics of the process.
    pub metrics: observability::Metrics,
    /// The rotation of the CA, if there is one.
    pub rotation: Option<RotationHandle>,
    /// Whether the process ends.
    pub ending: Ending,
}

impl Window {
    /// The newest cut.
    pub fn published(&self) -> Arc<Published> {
        self.readable.borrow().clone()
    }
}

/// Serves all pages until the process closes, and the requests that are under way then.
pub async fn serve(listener: TcpListener, window: Window) {
    let ending = window.ending.clone();
    let debug = debug::routes().merge(ca::routes()).layer(middleware::from_fn(own_host_only));
    let router = Router::new().merge(ready::routes()).merge(metrics::routes()).merge(debug).with_state(window);
    let router = router.layer(middleware::from_fn_with_state(ending.clone(), last_of_its_connection));
    server::serve(listener, router, ending).await;
}

/// The debug pages tell everything about the mesh. As long as callers cannot prove who they are, only those of this host
/// see them, as Istio trusts local host.
async fn own_host_only(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    if peer.ip().to_canonical().is_loopback() {
        return next.run(request).await;
    }
    let text = "the debug pages are shown to this host only; ask from here, for example through a port forward\n";
    (StatusCode::FORBIDDEN, text).into_response()
}
