//! gRPC messages on HTTP/2, without a codec: requests are framed bytes, responses are cut out of what arrives.

use crate::tls;
use anyhow::Context as _;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_rustls::TlsConnector;

/// The requests of one stream.
pub struct Requests(mpsc::UnboundedReceiver<Bytes>);

impl Body for Requests {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|message| message.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// The sending half of a stream.
#[derive(Clone)]
pub struct Sender(mpsc::UnboundedSender<Bytes>);

impl Sender {
    /// Sends one encoded message; nobody listens when the stream has ended.
    pub fn send(&self, message: &[u8]) {
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(message.len() as u32);
        framed.put_slice(message);
        let _ = self.0.send(framed.freeze());
    }
}

/// The receiving half of a stream.
pub struct Receiver {
    body: Incoming,
    buffer: BytesMut,
}

impl Receiver {
    /// The next message; `None` when the server has ended the stream.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            if let Some(message) = self.cut() {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            match frame?.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().ok();
                    let text = |name: &str| {
                        trailers.as_ref().and_then(|t| t.get(name)).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
                    };
                    if text("grpc-status") != "0" {
                        anyhow::bail!("the server ended the stream: status {} {}", text("grpc-status"), text("grpc-message"));
                    }
                }
            }
        }
    }

    fn cut(&mut self) -> Option<Bytes> {
        let mut header = self.buffer.get(1..5)?;
        let length = header.get_u32() as usize;
        if self.buffer.len() < length + 5 {
            self.buffer.reserve(length + 5 - self.buffer.len());
            return None;
        }
        self.buffer.advance(5);
        Some(self.buffer.split_to(length).freeze())
    }
}

/// Opens a connection, in mutual TLS if there is a connector, and one stream of `method` on it.
pub async fn open(address: &str, method: &str, connector: Option<&TlsConnector>) -> anyhow::Result<(Sender, Receiver)> {
    let tcp = tokio::net::TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    tcp.set_nodelay(true)?;
    let mut client = match connector {
        Some(connector) => handshake(tls::connect(connector, tcp).await?).await?,
        None => handshake(tcp).await?,
    };
    let (sender, receiver) = mpsc::unbounded_channel();
    let uri = format!("http://{address}/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}");
    let request = http::Request::post(uri)
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .body(Requests(receiver))?;
    let response = client.send_request(request).await?;
    anyhow::ensure!(response.status() == http::StatusCode::OK, "the server answers {}", response.status());
    if let Some(status) = response.headers().get("grpc-status") {
        anyhow::bail!("the server refuses the stream: status {status:?} {:?}", response.headers().get("grpc-message"));
    }
    Ok((Sender(sender), Receiver { body: response.into_body(), buffer: BytesMut::new() }))
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> hyper::Result<SendRequest<Requests>> {
    let (client, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    Ok(client)
}
