//! Every endpoint of a case in one program: answers HTTP and TCP on many addresses and remembers what came.

use super::{authorizer, room::Room, tls};
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use simulation::Resources;
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use xds_api::envoy::config::{
    core::v3::{address::Address, socket_address::PortSpecifier},
    endpoint::v3::{ClusterLoadAssignment, lb_endpoint::HostIdentifier},
};

/// What endpoints answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A request with this header gets its value as the status.
pub const STATUS: &str = "x-answer-status";
/// With this one, only so many first requests of a call get that status; later ones get 200.
pub const FAILURES: &str = "x-answer-failures";
/// With this one, the answer comes after so many milliseconds.
pub const DELAY: &str = "x-answer-delay";

/// What came to an endpoint.
#[derive(Clone, Debug)]
pub struct Received {
    /// The endpoint.
    pub address: SocketAddr,
    /// Empty for TCP.
    pub method: String,
    /// With the query; empty for TCP.
    pub path: String,
    /// The authority; empty for TCP.
    pub host: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
}

/// All endpoints.
#[derive(Clone)]
pub struct Upstream {
    tls: TlsAcceptor,
    log: Arc<Mutex<Vec<Received>>>,
    listeners: Arc<Mutex<BTreeMap<SocketAddr, Listener>>>,
    statuses: Arc<Mutex<BTreeMap<SocketAddr, u16>>>,
}

/// One endpoint.
struct Listener {
    room: Room,
    /// Accepts and serves; `None` while it is down.
    task: Option<AbortHandle>,
}

/// The addresses of all endpoints of all clusters; names are looked up in `dns`.
pub fn addresses(resources: &Resources, dns: &BTreeMap<String, IpAddr>) -> BTreeSet<SocketAddr> {
    let inline = resources.clusters.values().filter_map(|cluster| cluster.load_assignment.as_ref());
    inline.chain(resources.endpoints.values()).flat_map(|assignment| endpoints(assignment, dns)).collect()
}

/// The addresses of an assignment.
pub fn endpoints(assignment: &ClusterLoadAssignment, dns: &BTreeMap<String, IpAddr>) -> BTreeSet<SocketAddr> {
    let endpoints = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    let all = endpoints.flat_map(|endpoint| {
        let endpoint = match &endpoint.host_identifier {
            Some(HostIdentifier::Endpoint(endpoint)) => Some(endpoint),
            _ => None,
        };
        let additional = endpoint.into_iter().flat_map(|endpoint| &endpoint.additional_addresses);
        endpoint.and_then(|endpoint| endpoint.address.as_ref()).into_iter().chain(additional.filter_map(|one| one.address.as_ref()))
    });
    let sockets = all.filter_map(|address| {
        let Some(Address::SocketAddress(socket)) = address.address.as_ref() else { return None };
        let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else { return None };
        let address = socket.address.parse().ok().or_else(|| dns.get(&socket.address).copied())?;
        Some(SocketAddr::new(address, u16::try_from(port).ok()?))
    });
    sockets.collect()
}

impl Upstream {
    /// No endpoint yet.
    ///
    /// # Errors
    /// If no certificate can be made for those that are spoken to in TLS.
    pub fn new() -> Result<Self> {
        Ok(Self { tls: tls::acceptor()?, log: Arc::default(), listeners: Arc::default(), statuses: Arc::default() })
    }

    /// Becomes the endpoint at `address` of a workload in `room`, if it is not yet.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn listen(&self, address: SocketAddr, room: &Room) -> Result<()> {
        if lock(&self.listeners).contains_key(&address) {
            return Ok(());
        }
        let task = Some(self.accept(address, room)?);
        lock(&self.listeners).insert(address, Listener { room: room.clone(), task });
        Ok(())
    }

    /// Takes connections until it is aborted, which ends those that are open, too.
    fn accept(&self, address: SocketAddr, room: &Room) -> Result<AbortHandle> {
        let socket = room.inside(|| std::net::TcpListener::bind(address))?.with_context(|| format!("an endpoint at {address}"))?;
        socket.set_nonblocking(true)?;
        let (upstream, listener) = (self.clone(), TcpListener::from_std(socket)?);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let upstream = upstream.clone();
                // A client may leave whenever it likes.
                connections.spawn(async move { upstream.serve(stream, address).await.unwrap_or_default() });
            }
        });
        Ok(task.abort_handle())
    }

    /// The endpoint is gone: open connections end, new ones are refused.
    ///
    /// # Errors
    /// If there is none.
    pub fn down(&self, address: SocketAddr) -> Result<()> {
        let mut listeners = lock(&self.listeners);
        let listener = listeners.get_mut(&address).with_context(|| format!("there is no endpoint at {address}"))?;
        if let Some(task) = listener.task.take() {
            task.abort();
        }
        Ok(())
    }

    /// The endpoint is there again.
    ///
    /// # Errors
    /// If it has never been, or another has its address.
    pub fn up(&self, address: SocketAddr) -> Result<()> {
        let mut listeners = lock(&self.listeners);
        let listener = listeners.get_mut(&address).with_context(|| format!("there is no endpoint at {address}"))?;
        if listener.task.is_none() {
            listener.task = Some(self.accept(address, &listener.room)?);
        }
        Ok(())
    }

    /// The endpoint answers with this status from now on.
    pub fn answer_with(&self, address: SocketAddr, status: u16) {
        lock(&self.statuses).insert(address, status);
    }

    /// What came since the last time.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *lock(&self.log))
    }

    /// How much has come since.
    pub fn count(&self) -> usize {
        lock(&self.log).len()
    }

    async fn serve(&self, stream: TcpStream, address: SocketAddr) -> std::io::Result<()> {
        let mut first = [0];
        stream.peek(&mut first).await?;
        match first {
            // The record type of a TLS handshake.
            [22] => {
                let stream = self.tls.accept(stream).await?;
                // ALPN says what is inside; without it, it is taken for TCP.
                let http = stream.get_ref().1.alpn_protocol().is_some();
                if http { self.serve_http(stream, address).await } else { self.serve_tcp(stream, address).await }
            }
            // The capital letter of a method, or of HTTP/2's preface.
            [b'A'..=b'Z'] => self.serve_http(stream, address).await,
            _ => self.serve_tcp(stream, address).await,
        }
    }

    async fn serve_http<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: I, address: SocketAddr) -> std::io::Result<()> {
        let upstream = self.clone();
        let service = service_fn(move |request| {
            let upstream = upstream.clone();
            async move { upstream.answer(request, address).await }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        builder.serve_connection(TokioIo::new(stream), service).await.map_err(std::io::Error::other)
    }

    async fn serve_tcp<I: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: I, address: SocketAddr) -> std::io::Result<()> {
        let mut bytes = [0; 4096];
        if stream.read(&mut bytes).await? == 0 {
            return Ok(());
        }
        let (method, path, host, headers) = Default::default();
        lock(&self.log).push(Received { address, method, path, host, headers });
        stream.write_all(address.to_string().as_bytes()).await?;
        stream.shutdown().await
    }

    async fn answer(&self, request: Request<Incoming>, address: SocketAddr) -> Result<Response<Body>, Infallible> {
        let headers: BTreeMap<String, String> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let host = request.uri().authority().map(ToString::to_string).or_else(|| headers.get("host").cloned()).unwrap_or_default();
        let number = |name: &str| headers.get(name).and_then(|value| value.parse::<u64>().ok());
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let received = Received { address, method: request.method().to_string(), path, host, headers: headers.clone() };
        let earlier = {
            let mut log = lock(&self.log);
            log.push(received);
            log.len() as u64 - 1
        };
        if request.uri().path() == authorizer::CHECK {
            let question = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            return Ok(authorizer::answer(&question));
        }
        if let Some(delay) = number(DELAY) {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let usual = lock(&self.statuses).get(&address).copied().unwrap_or(200);
        let status = number(STATUS).filter(|_| number(FAILURES).is_none_or(|failures| earlier < failures));
        let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(usual);
        let mut response = Response::new(Full::new(Bytes::from(address.to_string())).boxed_unsync());
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        response.headers_mut().insert("x-endpoint", hyper::header::HeaderValue::from_static("yes"));
        Ok(response)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
