//! The secured gRPC port: TLS, authentication, then configuration or certificates.

use super::Identity;
use ads::{Peer, ResponseBody, Server};
use ca::{
    UnaryBody,
    api::CREATE_CERTIFICATE,
    authenticate::{Caller, ClientCertificate},
    presented,
};
use http_body_util::Either;
use hyper::{body::Incoming, service::service_fn};
use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

type Answer = http::Response<Either<ResponseBody, UnaryBody>>;

/// Serves `listener` until `shutdown` resolves.
pub async fn serve(listener: TcpListener, server: Server, identity: Identity, shutdown: impl Future<Output = ()> + Send) {
    let served = server.clone();
    let connection = move |stream: TcpStream, address: SocketAddr| {
        let (server, identity) = (server.clone(), identity.clone());
        async move { serve_connection(stream, address, server, identity).await }
    };
    served.accept(listener, shutdown, connection).await;
}

/// Serves `listener` without TLS: streams of whoever comes, and certificates for tokens.
pub async fn serve_plaintext(listener: TcpListener, server: Server, identity: Identity, shutdown: impl Future<Output = ()> + Send) {
    let served = server.clone();
    let connection = move |stream: TcpStream, address: SocketAddr| {
        let (server, identity) = (server.clone(), identity.clone());
        async move {
            let answering = (server.clone(), identity.clone());
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (server, identity) = answering.clone();
                async move {
                    Ok::<_, Infallible>(match (request.uri().path(), &identity.service) {
                        (CREATE_CERTIFICATE, Some(service)) => service.handle(request, address, None).await.map(Either::Right),
                        _ => server.handle(request, Peer { address, identity: None }).map(Either::Left),
                    })
                }
            });
            server.serve_requests(stream, address, service).await;
        }
    };
    served.accept(listener, shutdown, connection).await;
}

async fn serve_connection(stream: TcpStream, address: SocketAddr, server: Server, identity: Identity) {
    let Some(_open) = identity.peers.connect(address.ip()) else {
        refuse(&identity, address, "connections", "too many connections from one address");
        return;
    };
    let config = identity.configs.secured.borrow().clone();
    let handshake = timeout(identity.peers.limits().handshake, TlsAcceptor::from(config).accept(stream)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return refuse(&identity, address, "handshake", &error.to_string()),
        Err(_) => return refuse(&identity, address, "handshake_timeout", "the TLS handshake took too long"),
    };
    identity.metrics.connections.inc();
    serve_requests(stream, address, &server, &identity).await;
    identity.metrics.connections.dec();
}

async fn serve_requests(stream: TlsStream<TcpStream>, address: SocketAddr, server: &Server, identity: &Identity) {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first()).and_then(ClientCertificate::read).map(Arc::new);
    let first = Arc::new(Notify::new());
    let (answering, asked) = ((server.clone(), identity.clone()), first.clone());
    let service = service_fn(move |request| {
        asked.notify_one();
        let ((server, identity), certificate) = (answering.clone(), certificate.clone());
        async move { Ok::<_, Infallible>(answer(request, address, certificate, &server, &identity).await) }
    });
    let idle = async {
        match timeout(identity.peers.limits().request, first.notified()).await {
            Ok(()) => std::future::pending().await,
            Err(_) => refuse(identity, address, "idle", "no request came after the handshake"),
        }
    };
    tokio::select! {
        () = server.serve_requests(stream, address, service) => {}
        () = idle => {}
    }
}

async fn answer(
    request: http::Request<Incoming>,
    address: SocketAddr,
    certificate: Option<Arc<ClientCertificate>>,
    server: &Server,
    identity: &Identity,
) -> Answer {
    if let (CREATE_CERTIFICATE, Some(service)) = (request.uri().path(), &identity.service) {
        return service.handle(request, address, certificate.as_deref()).await.map(Either::Right);
    }
    if !identity.authenticate_streams {
        return server.handle(request, Peer { address, identity: None }).map(Either::Left);
    }
    if !identity.peers.request(address.ip(), Instant::now()) {
        refuse(identity, address, "request_rate", "too many requests from one address");
        return refused(tonic::Status::resource_exhausted("too many requests from one address; wait before the next"));
    }
    let caller =
        identity.authenticator.authenticate(presented(request.headers(), certificate.as_deref(), address), SystemTime::now()).await;
    match caller {
        Ok(Caller { identity, .. }) => server.handle(request, Peer { address, identity: Some(identity) }).map(Either::Left),
        Err(refusal) => {
            tracing::warn!(peer = %address, "a stream was not authenticated: {refusal}");
            refused(refusal.status())
        }
    }
}

fn refused(status: tonic::Status) -> Answer {
    status.into_http::<UnaryBody>().map(Either::Right)
}

fn refuse(identity: &Identity, address: SocketAddr, reason: &str, message: &str) {
    identity.metrics.refused(reason);
    tracing::warn!(peer = %address, reason, "a connection was refused: {message}");
}
