//! HTTP/2 under the streams: accepts connections, routes the two methods, bounds what one peer may hold.

use crate::{
    connection::{Protocol, Request},
    discovery::{Discovery, Peer},
    grpc::ResponseBody,
    metrics::Metrics,
    options::Options,
    shared_responses::SharedResponses,
    status::Connections,
    stream,
};
use futures::StreamExt;
use http::{HeaderValue, header::CONTENT_TYPE};
use hyper::{body::Incoming, service::Service};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use tonic::{Status, Streaming};
use tonic_prost::ProstDecoder;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

const DELTA_PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const SOTW_PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// Messages of one stream that may wait for the peer to take them.
const QUEUED_MESSAGES: usize = 8;

/// The xDS server. Clones are the same server.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

/// What all streams share.
pub(crate) struct Shared {
    pub discovery: Arc<dyn Discovery>,
    pub options: Options,
    pub connections: Connections,
    pub metrics: Metrics,
    pub permits: Arc<Semaphore>,
    pub responses: SharedResponses,
    pub shutdown: watch::Sender<bool>,
    /// Makes nonces differ from those of an earlier process.
    pub epoch: u64,
    streams: AtomicU64,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl Shared {
    pub fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    /// Resolves when the server goes down.
    pub async fn down(&self) {
        // The sender lives as long as we do.
        let _ = self.shutdown.subscribe().wait_for(|down| *down).await;
    }
}

/// Serves plaintext gRPC on `listener` until `shutdown` resolves and the streams have ended.
///
/// # Errors
/// When a metric of the server is on the registry already.
pub async fn serve(
    listener: TcpListener,
    discovery: Arc<dyn Discovery>,
    options: Options,
    connections: Connections,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), prometheus::Error> {
    Server::new(discovery, options, connections)?.serve(listener, shutdown).await;
    Ok(())
}

impl Server {
    /// A server that no connection has been handed to yet.
    ///
    /// # Errors
    /// When a metric of the server is on the registry already.
    pub fn new(discovery: Arc<dyn Discovery>, options: Options, connections: Connections) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::new(&options.registry)?;
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let permits = Arc::new(Semaphore::new(options.push_permits.max(1)));
        let shared = Shared {
            discovery,
            options,
            connections,
            metrics,
            permits,
            responses: SharedResponses::default(),
            shutdown: watch::Sender::new(false),
            epoch,
            streams: AtomicU64::new(1),
            addresses: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Serves plaintext gRPC on `listener` until `shutdown` resolves and the streams have ended, or the time for that
    /// is over. Streams are told `UNAVAILABLE`, so that proxies come back.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let server = self.clone();
        let plaintext = move |stream, address| {
            let server = server.clone();
            async move { server.serve_connection(stream, Peer { address, identity: None }).await }
        };
        self.accept(listener, shutdown, plaintext).await;
    }

    /// The same with connections that somebody else serves, by TLS for example; each in a task of its own.
    pub async fn accept<F>(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
        connection: impl Fn(TcpStream, SocketAddr) -> F + Send,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => {
                        self.prepare(&stream);
                        tasks.spawn(connection(stream, address));
                    }
                    Err(error) => {
                        // Out of file descriptors, most likely: others will be closed in time.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                () = &mut shutdown => break,
            }
        }
        drop(listener);
        self.shared.shutdown.send_replace(true);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.options.waits.shutdown, ended).await.is_err() {
            tracing::warn!("connections are still open, and are cut");
        }
    }

    fn prepare(&self, stream: &TcpStream) {
        let size = self.shared.options.socket_send_buffer;
        let prepared = stream.set_nodelay(true).and_then(|()| socket2::SockRef::from(stream).set_send_buffer_size(size));
        if let Err(error) = prepared {
            tracing::debug!(%error, "a socket option could not be set");
        }
    }

    /// Serves one HTTP/2 connection, plaintext or the inside of TLS; `peer` says what authentication has found.
    pub async fn serve_connection<I>(&self, io: I, peer: Peer)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let server = self.clone();
        let address = peer.address;
        let service = hyper::service::service_fn(move |request| {
            let response = server.handle(request, peer.clone());
            std::future::ready(Ok::<_, Infallible>(response))
        });
        self.serve_requests(io, address, service).await;
    }

    /// Serves one HTTP/2 connection whose requests `service` answers, with the settings and the shutdown of this server.
    pub async fn serve_requests<I, S, B>(&self, io: I, address: SocketAddr, service: S)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible> + Send,
        S::Future: Send + 'static,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let options = &self.shared.options;
        let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(options.keepalive)
            .keep_alive_timeout(options.keepalive_timeout)
            .max_concurrent_streams(options.limits.streams_per_connection)
            .max_send_buf_size(options.http2_send_buffer);
        let mut connection = std::pin::pin!(http2.serve_connection(TokioIo::new(io), service));
        let shutdown = self.shared.down();
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = shutdown => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "connection ended");
        }
    }

    /// Answers one HTTP request, for those who serve other things on the same port. The stream itself runs in a task
    /// of its own, which ends when the body of the response is dropped.
    pub fn handle<B>(&self, request: http::Request<B>, peer: Peer) -> http::Response<ResponseBody>
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let protocol = match request.uri().path() {
            DELTA_PATH => Protocol::Delta,
            SOTW_PATH => Protocol::StateOfTheWorld,
            path => return Status::unimplemented(format!("unknown method {path}")).into_http(),
        };
        let Some(address) = self.enter(peer.address.ip()) else {
            self.shared.metrics.refused_streams.with_label_values(&["too_many_streams"]).inc();
            return Status::resource_exhausted("too many streams from one address").into_http();
        };
        let (out, messages) = mpsc::channel(QUEUED_MESSAGES);
        let shared = self.shared.clone();
        let limit = Some(shared.options.request_bytes);
        let body = request.into_body();
        match protocol {
            Protocol::Delta => {
                let requests = Streaming::<DeltaDiscoveryRequest>::new_request(ProstDecoder::default(), body, None, limit);
                let requests = requests.map(|request| request.map(Request::Delta));
                tokio::spawn(async move { address.during(stream::serve(shared, protocol, peer, requests, out)).await });
            }
            Protocol::StateOfTheWorld => {
                let requests = Streaming::<DiscoveryRequest>::new_request(ProstDecoder::default(), body, None, limit);
                let requests = requests.map(|request| request.map(Request::StateOfTheWorld));
                tokio::spawn(async move { address.during(stream::serve(shared, protocol, peer, requests, out)).await });
            }
        }
        let mut response = http::Response::new(ResponseBody::new(messages));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }

    /// Counts a stream of an address, unless it has too many.
    fn enter(&self, address: IpAddr) -> Option<CountedAddress> {
        let mut addresses = self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = addresses.entry(address).or_default();
        if *streams >= self.shared.options.limits.streams_per_address {
            return None;
        }
        *streams += 1;
        Some(CountedAddress { shared: self.shared.clone(), address })
    }
}

/// One stream of an address.
struct CountedAddress {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl CountedAddress {
    /// Counts for as long as the stream is served.
    async fn during(self, serving: impl Future<Output = ()>) {
        serving.await;
    }
}

impl Drop for CountedAddress {
    fn drop(&mut self) {
        let mut addresses = self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(streams) = addresses.get_mut(&self.address) {
            *streams = streams.saturating_sub(1);
            if *streams == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}
