//! HTTP and HTTPS as far as issuers need them: one request on one connection, redirects, a limit on what comes.

use crate::{Options, fetch::FetchError};
use base::Cidr;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// No set of keys is so large.
const LARGEST: usize = 1 << 20;

/// More are a loop.
const REDIRECTS: usize = 5;

/// The way to issuers.
#[derive(Clone)]
pub struct Transport {
    tls: TlsConnector,
    blocked: Arc<[Cidr]>,
}

/// An answer, or where to ask instead.
enum Answer {
    Body(Bytes),
    Elsewhere(String),
}

impl Transport {
    /// Trusts the system's certificates and those of the options. What cannot be read is logged and left out: issuers that
    /// need it then fail by themselves.
    pub fn new(options: &Options) -> Self {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        system.errors.iter().for_each(|error| tracing::warn!("a certificate of the system cannot be read: {error}"));
        roots.add_parsable_certificates(system.certs);
        if let Some(path) = &options.roots {
            match CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(certificates) => drop(roots.add_parsable_certificates(certificates)),
                Err(error) => tracing::error!("{}: {error}; issuers are trusted by the system's certificates alone", path.display()),
            }
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(config)), blocked: options.blocked.clone().into() }
    }

    /// What stands at `url`.
    ///
    /// # Errors
    /// If it cannot be had.
    pub async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            match self.ask(&url).await? {
                Answer::Body(body) => return Ok(body),
                Answer::Elsewhere(other) => url = other,
            }
        }
        Err(FetchError::Status { url, status: 310 })
    }

    async fn ask(&self, url: &str) -> Result<Answer, FetchError> {
        let wrong = || FetchError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (scheme, host) = uri.scheme_str().zip(uri.host()).ok_or_else(wrong)?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let failed = |source| FetchError::Connect { host: host.to_owned(), source };
        let addresses: Vec<SocketAddr> =
            lookup_host((host, uri.port_u16().unwrap_or(if tls { 443 } else { 80 }))).await.map_err(failed)?.collect();
        if let Some(blocked) = addresses.iter().find(|address| self.blocked.iter().any(|range| range.0.contains(&address.ip()))) {
            return Err(FetchError::Blocked(blocked.ip()));
        }
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(failed)?;
        if !tls {
            return request(stream, &uri).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
        request(self.tls.connect(name, stream).await.map_err(failed)?, &uri).await
    }
}

async fn request<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: I, uri: &Uri) -> Result<Answer, FetchError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "istiod")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Url(uri.to_string()))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    if let (true, Some(location)) = (status.is_redirection(), location) {
        connection.abort();
        return Ok(Answer::Elsewhere(absolute(uri, location)));
    }
    if !status.is_success() {
        connection.abort();
        return Err(FetchError::Status { url: uri.to_string(), status: status.as_u16() });
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    connection.abort();
    body.map(|body| Answer::Body(body.to_bytes())).map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => FetchError::Http(*error),
        Err(error) if error.is::<LengthLimitError>() => FetchError::TooLarge(uri.to_string()),
        Err(error) => FetchError::Connect { host: uri.to_string(), source: std::io::Error::other(error) },
    })
}

/// A path alone is one of the same host.
fn absolute(uri: &Uri, location: &str) -> String {
    match (location.starts_with('/'), uri.scheme_str(), uri.authority()) {
        (true, Some(scheme), Some(authority)) => format!("{scheme}://{authority}{location}"),
        _ => location.to_owned(),
    }
}
