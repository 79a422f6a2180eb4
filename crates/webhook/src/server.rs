//! The HTTPS server of webhooks. Whoever reaches the port may send anything: sizes, times and numbers are bounded.

use crate::{metrics::Metrics, review};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::FutureExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// Twice what etcd stores of an object by default, since an update carries the old one too, and then some.
const LARGEST_BODY: usize = 8 * 1024 * 1024;
/// The API server gives up after 10 s at the latest (`timeoutSeconds` of our configuration).
const LONGEST_REQUEST: Duration = Duration::from_secs(10);
/// For the TLS handshake, and for the headers of a request.
const LONGEST_GREETING: Duration = Duration::from_secs(5);
/// Connections at a time; the API server needs a handful.
const MOST_CONNECTIONS: usize = 512;
/// How long requests may take to end after the server was asked to.
const LONGEST_GOODBYE: Duration = Duration::from_secs(5);
/// Whoever has only just connected when the server ends is about to ask, and gets an answer.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// The paths of validation: `/validate` and what is below it, as Istio's, and `/ready` for who wants to know.
pub fn router(metrics: Metrics) -> Router {
    Router::new()
        .route("/validate", post(validate))
        .route("/validate/{*rest}", post(validate))
        .route("/validateistio", post(validate))
        .route("/validateistio/{*rest}", post(validate))
        .route("/ready", get(|| async { StatusCode::OK }))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(metrics)
}

async fn validate(State(metrics): State<Metrics>, body: Bytes) -> Response {
    match review(&body) {
        Ok((answer, verdict)) => {
            metrics.reviewed(verdict);
            ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
        }
        Err(error) => {
            metrics.http_error(StatusCode::BAD_REQUEST.as_u16());
            (StatusCode::BAD_REQUEST, error).into_response()
        }
    }
}

/// Serves `router` until `ended`, then answers what has been asked, and tells clients to go elsewhere (GOAWAY,
/// `Connection: close`). Handshakes take the newest configuration of `tls`.
pub async fn serve(listener: TcpListener, tls: watch::Receiver<Arc<ServerConfig>>, router: Router, ended: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    let (ending, goodbye) = watch::channel(());
    let answer = |stream: TcpStream| {
        let place = room.clone().try_acquire_owned().ok()?;
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        let (router, goodbye) = (router.clone(), goodbye.clone());
        Some(async move {
            let _place = place;
            connection(stream, acceptor, router, goodbye).await;
        })
    };
    tokio::pin!(ended);
    loop {
        let accepted = tokio::select! {
            () = &mut ended => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => drop(answer(stream).map(|answering| connections.spawn(answering))),
            Err(error) => {
                // Too many open files, say: it passes.
                tracing::warn!("the webhook cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Those whom the kernel has connected already.
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        drop(answer(stream).map(|answering| connections.spawn(answering)));
    }
    drop((listener, ending));
    drop(timeout(LONGEST_GOODBYE, async { while connections.join_next().await.is_some() {} }).await);
}

/// Answers on one connection, until it is closed or `goodbye` is.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router, mut goodbye: watch::Receiver<()>) {
    let stream = match timeout(LONGEST_GREETING, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        // Scanners, and API servers that do not trust us yet; those say so themselves.
        Ok(Err(error)) => return tracing::debug!("a connection to the webhook ended in its handshake: {error}"),
        Err(_) => return,
    };
    let asked = Arc::new(Notify::new());
    let noted = asked.clone();
    let router = router.layer(axum::middleware::from_fn(move |request, next: axum::middleware::Next| {
        noted.notify_one();
        async move { timeout(LONGEST_REQUEST, next.run(request)).await.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response()) }
    }));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(LONGEST_GREETING);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64).keep_alive_interval(Duration::from_secs(30));
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(serving);
    let leave = async {
        // Nothing is ever sent there; it ends with the server.
        drop(goodbye.changed().await);
        drop(timeout(FIRST_REQUEST, asked.notified()).await);
    };
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = leave => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection to the webhook has failed: {error}");
    }
}
