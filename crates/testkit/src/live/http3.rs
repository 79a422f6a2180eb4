//! One call over HTTP/3.

use super::{
    client::{Answer, Caller},
    room::OUTSIDE,
    tls,
};
use anyhow::{Context, Result, ensure};
use bytes::Buf;
use hyper::Request;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, crypto::rustls::QuicClientConfig};
use simulation::Call;
use std::{
    future::poll_fn,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};
use tokio_rustls::rustls::pki_types::CertificateDer;

/// Envoy leaves a handshake unanswered for which it has no filter chain. Whoever hears nothing for so long gives up.
const SILENCE: Duration = Duration::from_secs(3);

/// Makes the call of a client outside of the proxy's workload; nothing redirects UDP.
///
/// # Errors
/// If there is no answer, or the server presents another name.
pub async fn call(call: &Call, caller: Caller<'_>, presents: Option<&str>) -> Result<Answer> {
    let source = if caller.room.is_own() { OUTSIDE } else { Ipv4Addr::UNSPECIFIED };
    let socket = UdpSocket::bind((source, 0))?;
    let mut config = tls::client(caller.certificate)?;
    config.alpn_protocols = vec![b"h3".to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config)?));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(SILENCE.try_into()?));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
    let connection = endpoint.connect_with(config, SocketAddr::new(call.address, call.port), &call.server_name)?.await?;
    if let Some(name) = presents {
        let identity = connection.peer_identity().context("the server presents no certificate")?;
        let certificates = identity.downcast::<Vec<CertificateDer<'static>>>().ok().context("the server's certificate")?;
        ensure!(tls::is_of(&certificates, name), "the certificate is not of {name}");
    }
    let (mut driver, mut sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let driving = tokio::spawn(async move { poll_fn(|context| driver.poll_close(context)).await });
    let mut request = Request::builder().method(call.method.as_str()).uri(format!("https://{}{}", call.authority, call.path));
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let mut stream = sender.send_request(request.body(())?).await?;
    stream.finish().await?;
    let (head, ()) = stream.recv_response().await?.into_parts();
    let mut body = Vec::new();
    while let Some(mut chunk) = stream.recv_data().await? {
        body.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    driving.abort();
    Ok(Answer::of(head, &body))
}
