//! The plain HTTP server of all pages. Whoever reaches the port may send anything: times and numbers are bounded.

use crate::ending::Ending;
use axum::{
    Router,
    extract::{ConnectInfo, Request},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

/// A request's headers must have come by then; connections on which nothing is asked end then, too.
const LONGEST_GREETING: Duration = Duration::from_secs(10);
/// Connections at a time. One over it waits until another ends, which is soon.
const MOST_CONNECTIONS: usize = 1_000;

/// Serves `router` until the process closes, and what has been asked until then.
pub async fn serve(listener: TcpListener, router: Router, ending: Ending) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    let ended = ending.clone().closing();
    tokio::pin!(ended);
    loop {
        let accepted = tokio::select! {
            () = &mut ended => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, address, place)) => {
                let (router, closing) = (router.clone(), ending.clone().closing());
                connections.spawn(async move {
                    connection(stream, address, router, closing).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Too many open files, say: it passes.
                tracing::warn!("a connection to the pages cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, place))
}

async fn connection(stream: TcpStream, address: SocketAddr, router: Router, closing: impl Future<Output = ()>) {
    let router = router.layer(axum::middleware::from_fn(move |mut request: Request, next: axum::middleware::Next| {
        request.extensions_mut().insert(ConnectInfo(address));
        next.run(request)
    }));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(LONGEST_GREETING);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = closing => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection to the pages has failed: {error}");
    }
}
