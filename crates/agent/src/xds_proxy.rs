//! Envoy speaks xDS on a Unix socket; each of its streams becomes a stream to istiod, over TLS and with the workload's token.
//!
//! Messages pass through unread but for their type: what is about roots is the agent's own (`told_roots.rs`). When istiod goes
//! away the stream ends, Envoy keeps what it has and comes again.

use crate::connection::{Connection, ConnectionError, Upstream};
use crate::messages::{Messages, Piece};
use crate::metrics::AgentMetrics;
use crate::told_roots::{Protocol, Statement, keep};
use bytes::Bytes;
use futures::{Stream, stream};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::VecDeque;
use std::convert::Infallible;
use tokio::net::UnixListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::body::Body;

/// The only calls that pass.
const METHODS: [(&str, Protocol); 2] = [
    ("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", Protocol::Delta),
    ("/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources", Protocol::StateOfTheWorld),
];
/// A larger answer is configuration and no list of roots: it passes while it comes.
const LARGEST_STATEMENT: usize = 1 << 20;

/// Serves the socket until the process ends.
pub async fn serve(listener: UnixListener, upstream: Upstream, metrics: AgentMetrics) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let (upstream, metrics) = (upstream.clone(), metrics.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| forward(request, upstream.clone(), metrics.clone()));
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(4 << 20)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!("Envoy's connection has ended: {error}");
            }
        });
    }
}

async fn forward(request: Request<Incoming>, upstream: Upstream, metrics: AgentMetrics) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    let Some((_, protocol)) = METHODS.into_iter().find(|(method, _)| *method == path) else {
        return Ok(tonic::Status::unimplemented("only aggregated discovery passes here").into_http());
    };
    metrics.streams.inc();
    let answer = match upstream.connect().await {
        Ok(connection) => send(request, protocol, connection, &upstream).await,
        Err(error) => Err(error),
    };
    Ok(answer.unwrap_or_else(|error| {
        metrics.terminations.inc();
        tracing::warn!("istiod cannot be reached; Envoy keeps what it has: {error}");
        tonic::Status::unavailable(error.to_string()).into_http()
    }))
}

async fn send(
    request: Request<Incoming>,
    protocol: Protocol,
    mut connection: Connection,
    upstream: &Upstream,
) -> Result<Response<Body>, ConnectionError> {
    let (head, body) = request.into_parts();
    let mut parts = connection.origin.clone().into_parts();
    parts.path_and_query = head.uri.path_and_query().cloned();
    let (said, statements) = unbounded_channel();
    let (answers, own) = unbounded_channel();
    let mut outgoing = Request::new(Body::new(StreamBody::new(requests(body, protocol, own))));
    *outgoing.method_mut() = head.method;
    *outgoing.uri_mut() = http::Uri::from_parts(parts).unwrap_or(connection.origin);
    let headers = outgoing.headers_mut();
    copy(&head.headers, headers);
    if let Some(authorization) = connection.authorization {
        headers.insert(header::AUTHORIZATION, authorization);
    }
    headers.insert("clusterid", connection.cluster);
    let answer = connection.sender.send_request(outgoing).await?;
    tokio::spawn(keep(protocol, statements, answers, upstream.trusted.clone()));
    let (head, body) = answer.into_parts();
    let mut response = Response::new(Body::new(StreamBody::new(responses(body, protocol, said))));
    *response.status_mut() = if head.status.is_success() { head.status } else { StatusCode::OK };
    *response.headers_mut() = head.headers;
    Ok(response)
}

/// What goes to istiod: Envoy's messages, and between them the agent's own.
struct Requests {
    body: Incoming,
    protocol: Protocol,
    messages: Messages,
    ready: VecDeque<Bytes>,
    own: UnboundedReceiver<Bytes>,
    asked: bool,
}

fn requests(
    body: Incoming,
    protocol: Protocol,
    own: UnboundedReceiver<Bytes>,
) -> impl Stream<Item = Result<Frame<Bytes>, hyper::Error>> + Send + 'static {
    // Held whole, however large, because the agent's messages must not come into the middle of one.
    let messages = Messages::new(usize::MAX);
    let requests = Requests { body, protocol, messages, ready: VecDeque::new(), own, asked: false };
    stream::unfold(requests, |mut requests| async move { Some((requests.next().await?.map(Frame::data), requests)) })
}

impl Requests {
    async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(Ok(message));
            }
            tokio::select! {
                biased;
                frame = self.body.frame() => match frame? {
                    Ok(frame) => self.take(frame),
                    Err(error) => return Some(Err(error)),
                },
                Some(message) = self.own.recv() => self.ready.push_back(message),
            }
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        let Ok(chunk) = frame.into_data() else { return };
        self.messages.push(&chunk);
        while let Some(Piece::Message(message) | Piece::Part(message)) = self.messages.next() {
            let asks = !self.asked && self.protocol.asks_for_listeners(&message);
            self.ready.push_back(message);
            if asks {
                self.asked = true;
                self.ready.push_back(self.protocol.question());
            }
        }
    }
}

/// What goes to Envoy: everything from istiod but what it says of roots.
struct Responses {
    body: Incoming,
    protocol: Protocol,
    messages: Messages,
    ready: VecDeque<Frame<Bytes>>,
    said: UnboundedSender<Statement>,
}

fn responses(
    body: Incoming,
    protocol: Protocol,
    said: UnboundedSender<Statement>,
) -> impl Stream<Item = Result<Frame<Bytes>, hyper::Error>> + Send + 'static {
    let responses = Responses { body, protocol, messages: Messages::new(LARGEST_STATEMENT), ready: VecDeque::new(), said };
    stream::unfold(responses, |mut responses| async move { Some((responses.next().await?, responses)) })
}

impl Responses {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(Ok(frame));
            }
            match self.body.frame().await? {
                Ok(frame) => self.take(frame),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        let chunk = match frame.into_data() {
            Ok(chunk) => chunk,
            Err(trailers) => return self.ready.push_back(trailers),
        };
        self.messages.push(&chunk);
        while let Some(piece) = self.messages.next() {
            let message = match piece {
                Piece::Message(message) => message,
                Piece::Part(part) => {
                    self.ready.push_back(Frame::data(part));
                    continue;
                }
            };
            match self.protocol.statement(&message) {
                // Nobody listens any more when the stream is at its end.
                Some(statement) => drop(self.said.send(statement)),
                None => self.ready.push_back(Frame::data(message)),
            }
        }
    }
}

/// gRPC's own headers, but for compression, which would hide the types; whatever else Envoy sends is not istiod's business.
fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        let own = name.as_str().starts_with("grpc-") && name.as_str() != "grpc-accept-encoding";
        if *name == header::CONTENT_TYPE || *name == header::TE || own {
            to.append(name, value.clone());
        }
    }
}
