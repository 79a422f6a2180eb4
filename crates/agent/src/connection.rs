//! One HTTP/2 connection to istiod: TLS against the root of the mesh, with this workload's token on every call.

use crate::trust::Roots;
use http::HeaderValue;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::body::Body;

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A dead peer is noticed after this and [`KEEPALIVE_TIMEOUT`].
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// See [`KEEPALIVE_INTERVAL`].
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest window of a stream: the first configuration of a large mesh is megabytes.
const WINDOW: u32 = 4 << 20;

/// Why istiod cannot be reached. A retry helps once the named thing is mended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The address has no port, or a name that no certificate can carry.
    #[error("the address {0:?} of istiod is not HOST:PORT")]
    Address(String),
    /// The name cannot be in a certificate.
    #[error("the address of istiod: {0}")]
    Name(#[from] InvalidDnsNameError),
    /// The file with the root certificate cannot be read; in Kubernetes it is the ConfigMap `istio-ca-root-cert`.
    #[error("the root certificate {path}: {reason}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The token cannot be read, or is not text for a header.
    #[error("the token {path}: {reason}")]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TCP or TLS failed.
    #[error("{address}: {source}")]
    Io {
        /// Where to.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It took longer than five seconds.
    #[error("{0} does not answer")]
    TimedOut(String),
    /// HTTP/2 failed.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The TLS settings are impossible.
    #[error(transparent)]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// Where istiod is, and how to prove who is asking.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// `host:port`.
    pub address: String,
    /// The root certificates of the mesh, PEM, read at every connection; `None` speaks plain text (port 15010).
    pub roots: Option<PathBuf>,
    /// Roots that have come since, which are trusted, too: a mounted file may be a minute behind.
    pub trusted: Roots,
    /// The service-account token, read at every connection because Kubernetes renews it; `None` sends none.
    pub token: Option<PathBuf>,
    /// The cluster of this workload, sent as `clusterid`.
    pub cluster: String,
    /// The id of its node, sent with requests for certificates: a rotation of the root waits for this proxy by it.
    pub node: String,
}

/// An open connection, with the headers that each call carries.
pub struct Connection {
    /// Sends calls.
    pub sender: SendRequest<Body>,
    /// `https://host:port` or `http://host:port`, the origin of the calls.
    pub origin: http::Uri,
    /// `Bearer …`; marked as sensitive.
    pub authorization: Option<HeaderValue>,
    /// The cluster of this workload.
    pub cluster: HeaderValue,
}

impl Upstream {
    /// Opens a connection, which is driven by a task of its own until it ends.
    pub async fn connect(&self) -> Result<Connection, ConnectionError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.open()).await.map_err(|_| ConnectionError::TimedOut(self.address.clone()))?
    }

    async fn open(&self) -> Result<Connection, ConnectionError> {
        let bad_address = || ConnectionError::Address(self.address.clone());
        let (host, _port) = self.address.rsplit_once(':').ok_or_else(bad_address)?;
        let io = |source| ConnectionError::Io { address: self.address.clone(), source };
        let authorization = self.authorization().await?;
        let cluster = HeaderValue::from_str(&self.cluster).map_err(|_| bad_address())?;
        let tcp = TcpStream::connect(&self.address).await.map_err(io)?;
        tcp.set_nodelay(true).map_err(io)?;
        let (scheme, sender) = match &self.roots {
            Some(_) => {
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
                let tls = TlsConnector::from(Arc::new(self.tls().await?)).connect(name, tcp).await.map_err(io)?;
                ("https", handshake(tls).await?)
            }
            None => ("http", handshake(tcp).await?),
        };
        let origin = format!("{scheme}://{}", self.address).parse().map_err(|_| bad_address())?;
        Ok(Connection { sender, origin, authorization, cluster })
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, ConnectionError> {
        let Some(path) = &self.token else {
            return Ok(None);
        };
        let refused = |reason: String| ConnectionError::Token { path: path.clone(), reason };
        let token = tokio::fs::read_to_string(path).await.map_err(|error| refused(error.to_string()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| refused("it holds characters that a token never does".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn tls(&self) -> Result<ClientConfig, ConnectionError> {
        let path = self.roots.clone().unwrap_or_default();
        let unusable = |reason: String| ConnectionError::Roots { path: path.clone(), reason };
        let known = self.trusted.edition();
        let mut pem = match tokio::fs::read(&path).await {
            Ok(pem) => pem,
            Err(error) if known.pem.is_empty() => return Err(unusable(error.to_string())),
            Err(_) => Vec::new(),
        };
        pem.push(b'\n');
        pem.extend_from_slice(known.pem.as_bytes());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(|error| unusable(error.to_string()))?).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("it holds no certificate".to_owned()));
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Body>, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(hyper_util::rt::TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(async move {
        // Whoever uses the connection sees the error on its own stream.
        if let Err(error) = connection.await {
            tracing::debug!("the connection to istiod has ended: {error}");
        }
    });
    Ok(sender)
}
