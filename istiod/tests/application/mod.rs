//! The application behind Envoys: it answers with what Envoy says of the caller.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
};
use tokio::net::TcpListener;

/// Serves until the end of the test; every answer is the header `x-forwarded-client-cert` of its request.
pub async fn serve() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async move {
                let caller = request.headers().get("x-forwarded-client-cert").map(|value| Bytes::copy_from_slice(value.as_bytes()));
                Ok::<_, Infallible>(Response::new(Full::new(caller.unwrap_or_default())))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}
