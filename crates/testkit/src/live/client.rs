//! Makes one call.

use super::{
    certificates::Certificate,
    http3,
    room::{INSIDE, OUTSIDE, Room},
    tls,
};
use crate::call::{CALLER, CLIENT};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, Version,
    body::Incoming,
    client::conn::{http1, http2},
    http::response::Parts,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use simulation::{Call, Direction, Protocol, Security};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

/// No call of a case takes so long.
const LIMIT: Duration = Duration::from_secs(20);

/// What comes back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status; `None` for TCP, and if the connection ended without an answer.
    pub status: Option<u16>,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body, or all bytes of TCP.
    pub body: String,
    /// Why there is no answer.
    pub failure: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Answer {
    /// None.
    pub fn failure(why: String) -> Self {
        Self { status: None, headers: BTreeMap::new(), body: String::new(), failure: Some(why), took: Duration::ZERO }
    }

    /// A whole response.
    pub fn of(head: Parts, body: &[u8]) -> Self {
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        Self {
            status: Some(head.status.as_u16()),
            headers: headers.collect(),
            body: String::from_utf8_lossy(body).into_owned(),
            failure: None,
            took: Duration::ZERO,
        }
    }
}

/// Where a client is, and who.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The network of its workload.
    pub room: &'a Room,
    /// Its own certificate.
    pub certificate: Option<&'a Certificate>,
    /// The version of HTTP that it speaks, if that is one of which the call does not tell: 1.0 or 3.
    pub version: Option<Version>,
}

/// Makes the call; `presents` is the name that the server's certificate must have. A connection that is refused or cut is an
/// answer, too.
///
/// # Errors
/// If the client itself cannot do it, or nothing happens for a long time.
pub async fn call(call: &Call, caller: Caller<'_>, presents: Option<&str>) -> Result<Answer> {
    let start = Instant::now();
    let made = timeout(LIMIT, attempt(call, caller, presents)).await.context("no answer, and no end of the connection")?;
    let mut answer = match made {
        Ok(answer) => answer,
        Err(error) => Answer::failure(format!("{error:#}")),
    };
    answer.took = start.elapsed();
    Ok(answer)
}

async fn attempt(call: &Call, caller: Caller<'_>, presents: Option<&str>) -> Result<Answer> {
    if caller.version == Some(Version::HTTP_3) {
        return http3::call(call, caller, presents).await;
    }
    let stream = connect(call, caller, None, presents).await?;
    if call.protocol == Protocol::Tcp { tcp(stream).await } else { http(stream, call, caller.version).await }
}

/// The bytes of a connection, in TLS or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Connects, from `source` if it is given.
///
/// # Errors
/// If that fails, or the server presents another name.
pub async fn connect(call: &Call, caller: Caller<'_>, source: Option<Ipv4Addr>, presents: Option<&str>) -> Result<Box<dyn Stream>> {
    // By the source, redirection knows which way a connection goes. Into a room it comes by wire.
    let (socket, usual) = match call.direction {
        Direction::Outbound if caller.room.is_own() => (caller.room.inside(TcpSocket::new_v4)??, Some(INSIDE)),
        Direction::Outbound => (TcpSocket::new_v4()?, Some(CLIENT)),
        Direction::Inbound | Direction::Direct if caller.room.is_own() => (TcpSocket::new_v4()?, Some(OUTSIDE)),
        Direction::Inbound => (TcpSocket::new_v4()?, Some(CALLER)),
        Direction::Direct if call.address.is_ipv6() => (TcpSocket::new_v6()?, None),
        Direction::Direct => (TcpSocket::new_v4()?, None),
    };
    socket.set_reuseaddr(true)?;
    if let Some(source) = source.or(usual) {
        socket.bind((source, 0).into())?;
    }
    let stream: TcpStream = socket.connect(SocketAddr::new(call.address, call.port)).await?;
    if call.security == Security::Plaintext {
        return Ok(Box::new(stream));
    }
    let stream = tls::connect(stream, &call.server_name, &call.application_protocols, caller.certificate).await?;
    if let Some(name) = presents {
        ensure!(tls::presents(&stream, name), "the certificate is not of {name}");
    }
    Ok(Box::new(stream))
}

async fn http(stream: Box<dyn Stream>, call: &Call, version: Option<Version>) -> Result<Answer> {
    let mut request = Request::builder().method(call.method.as_str());
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let response = if call.protocol == Protocol::Http2 {
        let uri = format!("{}://{}{}", if call.security == Security::Plaintext { "http" } else { "https" }, call.authority, call.path);
        let request = request.uri(uri).body(Empty::<Bytes>::new())?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    } else {
        let request = request
            .version(version.unwrap_or(Version::HTTP_11))
            .uri(&call.path)
            .header("host", &call.authority)
            .body(Empty::<Bytes>::new())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    };
    read(response).await
}

/// All of a response.
///
/// # Errors
/// If it is cut.
pub async fn read(response: Response<Incoming>) -> Result<Answer> {
    let (head, body) = response.into_parts();
    Ok(Answer::of(head, &body.collect().await?.to_bytes()))
}

/// A line is sent, and everything read.
///
/// # Errors
/// If the connection ends without a byte.
pub async fn tcp(mut stream: Box<dyn Stream>) -> Result<Answer> {
    stream.write_all(b"hello\r\n").await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    if bytes.is_empty() {
        bail!("the connection was closed without a byte");
    }
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Answer { status: None, headers: BTreeMap::new(), body, failure: None, took: Duration::ZERO })
}
