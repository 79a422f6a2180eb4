//! Envoy speaks xDS on a Unix socket; each of its streams becomes a stream to istiod, over TLS and with the workload's token.
//!
//! Messages pass through unread. When istiod goes away the stream ends, Envoy keeps what it has and comes again.

use crate::connection::{Connection, ConnectionError, Upstream};
use crate::metrics::AgentMetrics;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use tokio::net::UnixListener;
use tonic::body::Body;

/// The only calls that pass.
const METHODS: [&str; 2] = [
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
];

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
    if !METHODS.contains(&request.uri().path()) {
        return Ok(tonic::Status::unimplemented("only aggregated discovery passes here").into_http());
    }
    metrics.streams.inc();
    let answer = match upstream.connect().await {
        Ok(connection) => send(request, connection).await,
        Err(error) => Err(error),
    };
    Ok(answer.unwrap_or_else(|error| {
        metrics.terminations.inc();
        tracing::warn!("istiod cannot be reached; Envoy keeps what it has: {error}");
        tonic::Status::unavailable(error.to_string()).into_http()
    }))
}

async fn send(request: Request<Incoming>, mut connection: Connection) -> Result<Response<Body>, ConnectionError> {
    let (head, body) = request.into_parts();
    let mut parts = connection.origin.clone().into_parts();
    parts.path_and_query = head.uri.path_and_query().cloned();
    let mut outgoing = Request::new(Body::new(body));
    *outgoing.method_mut() = head.method;
    *outgoing.uri_mut() = http::Uri::from_parts(parts).unwrap_or(connection.origin);
    let headers = outgoing.headers_mut();
    copy(&head.headers, headers);
    if let Some(authorization) = connection.authorization {
        headers.insert(header::AUTHORIZATION, authorization);
    }
    headers.insert("clusterid", connection.cluster);
    let answer = connection.sender.send_request(outgoing).await?;
    let (head, body) = answer.into_parts();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = if head.status.is_success() { head.status } else { StatusCode::OK };
    *response.headers_mut() = head.headers;
    Ok(response)
}

/// gRPC's own headers; whatever else Envoy sends is not istiod's business.
fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        if *name == header::CONTENT_TYPE || *name == header::TE || name.as_str().starts_with("grpc-") {
            to.append(name, value.clone());
        }
    }
}
