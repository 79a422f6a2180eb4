//! Joins the two ends: sources into the pipeline, the pipeline to proxies, and a window onto all of it.

use crate::{
    arguments::Discovery,
    cluster,
    discovery::Front,
    ending::{Ending, last_of_its_connection},
    identity::{self, Identity, Places},
    names,
    pipeline::{Pipeline, Published},
    sources, web,
};
use ads::Connections;
use anyhow::Context;
use axum::middleware::from_fn_with_state;
use base::DomainSuffix;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    net::{TcpListener, TcpSocket, lookup_host},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

/// Connections that may wait to be accepted, on each port.
const QUEUE: u32 = 16_384;

/// Runs until the process is asked to end.
pub async fn serve(arguments: Discovery) -> anyhow::Result<()> {
    let ending = Ending::listen(*arguments.drain_duration)?;
    let (events, events_in) = mpsc::channel(64);
    let (proxies, proxies_in) = mpsc::unbounded_channel();
    let (published, readable) = watch::channel(Arc::new(Published::default()));
    let metrics = observability::Metrics::new();
    let started = sources::start(&arguments, &events, metrics.registry()).await?;

    let keys = jwks::Options::read(|name| std::env::var(name).ok());
    let events_in =
        jwks::through(events_in, keys, identity::key_store(&arguments.identity, started.kubernetes.as_ref()), metrics.registry());

    let features = config::Features::read(|name| std::env::var(name).ok());
    if features.resolves_gateway_names {
        tokio::spawn(names::follow(readable.clone(), events.downgrade(), names::look_up));
    }
    let state = xds::State::with_features(DomainSuffix::new(&arguments.domain), features);
    let connections = Connections::default();
    let places = match &started.kubernetes {
        Some(client) => Places::cluster(&arguments.identity, client),
        None => Places::files(&arguments.identity),
    };
    let identity = match arguments.secure_grpc_addr.is_empty() && arguments.https_addr.is_empty() {
        true => None,
        false => Some(identity::start(&arguments, places, metrics.registry(), readable.clone(), connections.clone()).await?),
    };
    let trust = identity.as_ref().map_or_else(|| watch::channel(Arc::default()).1, |identity| identity.trust.clone());
    let pipeline_ended = start_pipeline(Pipeline::new(state, events_in, proxies_in, started.sources, published, trust))?;

    let reviews = started.kubernetes.as_ref().map(|client| identity::SecretReviews::new(client.clone(), readable.clone()));
    let front = Arc::new(Front::new(proxies, arguments.identity.xds_identity_check).with_secret_reviews(reviews));
    // What ends in order beside the streams.
    let mut tasks = JoinSet::new();
    if let Some(client) = &started.kubernetes {
        let here = cluster::Here { arguments: &arguments, client, registry: metrics.registry(), ending: &ending };
        here.write_status(readable.clone(), front.clone(), &mut tasks)?;
    }
    if let (Some(identity), Some(listener)) = (&identity, listen(&arguments.https_addr).await?) {
        let metrics = webhook::Metrics::new(metrics.registry())?;
        let router = webhook::router(metrics.clone()).layer(from_fn_with_state(ending.clone(), last_of_its_connection));
        tasks.spawn(webhook::serve(listener, identity.configs.webhook.clone(), router, ending.clone().closing()));
        if let Some(client) = &started.kubernetes {
            cluster::be_asked(&arguments, client, identity, metrics);
        }
    }
    let rotation = identity.as_ref().map(|identity| identity.rotation.clone());
    let (front_in, ended) = (front.clone(), ending.clone());
    let window = web::Window { readable, front, connections: connections.clone(), metrics: metrics.clone(), rotation, ending };
    for address in [&arguments.http_addr, &arguments.monitoring_addr] {
        if let Some(listener) = listen(address).await? {
            tasks.spawn(web::serve(listener, window.clone()));
        }
    }
    let options = ads::Options { registry: metrics.registry().clone(), ..ads::Options::default() };
    let waits = ads::Waits { shutdown: *arguments.shutdown_duration, ..options.waits };
    let server = ads::Server::new(front_in, ads::Options { waits, ..options }, connections)?;
    let listeners = (listen(&arguments.grpc_addr).await?, listen(&arguments.secure_grpc_addr).await?);
    tokio::select! {
        () = serve_streams(listeners, server, identity, ended) => {}
        // A process that goes on answering but follows nothing any more is worse than none.
        _ = pipeline_ended => anyhow::bail!("the pipeline has stopped; the process ends, so that it can be started again"),
    }
    if timeout(*arguments.shutdown_duration, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("connections are still open, and are cut");
    }
    // Kept until here: the pipeline ends when the last sender of events is gone.
    drop(events);
    Ok(())
}

/// Runs the pipeline in a thread of its own: a turn is pure computation, and must not keep a connection waiting. What is
/// returned ends with it.
fn start_pipeline(pipeline: Pipeline) -> anyhow::Result<oneshot::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (alive, ended) = oneshot::channel::<()>();
    std::thread::Builder::new().name("pipeline".to_string()).spawn(move || {
        let _alive = alive;
        runtime.block_on(pipeline.run());
    })?;
    Ok(ended)
}

/// Serves proxies, in plain text and under TLS, until the process closes and their streams have ended.
async fn serve_streams(
    (plaintext, secured): (Option<TcpListener>, Option<TcpListener>),
    server: ads::Server,
    identity: Option<Identity>,
    ending: Ending,
) {
    // As in Istio: where there is no secured port, certificates are asked for in plain text.
    let without_tls = identity.clone().filter(|_| secured.is_none());
    let plaintext = async {
        match (plaintext, without_tls) {
            (Some(listener), Some(identity)) => {
                identity::serve_plaintext(listener, server.clone(), identity, ending.clone().closing()).await;
            }
            (Some(listener), None) => server.serve(listener, ending.clone().closing()).await,
            (None, _) => ending.clone().closing().await,
        }
    };
    let secured = async {
        match (secured, identity) {
            (Some(listener), Some(identity)) => identity::serve_secured(listener, server.clone(), identity, ending.clone().closing()).await,
            _ => ending.clone().closing().await,
        }
    };
    tokio::join!(plaintext, secured);
}

/// Listens at Istio's form of an address, in which `:8080` means all interfaces; empty means not at all.
async fn listen(address: &str) -> anyhow::Result<Option<TcpListener>> {
    if address.is_empty() {
        return Ok(None);
    }
    let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_string() };
    let addresses = lookup_host(&full).await.with_context(|| format!("{full} is no address to listen on"))?;
    let mut outcome = Err(std::io::ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        outcome = bind(address);
        if outcome.is_ok() {
            break;
        }
    }
    let listener = outcome.with_context(|| format!("cannot listen on {full}; is another istiod running there?"))?;
    tracing::info!("listening on {}", listener.local_addr()?);
    Ok(Some(listener))
}

/// As `TcpListener::bind`, but for the queue of connections that nobody has accepted yet: 128 are too few for a mesh that comes
/// back at once, and the kernel resets the rest. It has a limit of its own, `net.core.somaxconn`.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}
