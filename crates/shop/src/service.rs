//! One service of the shop: answers every request with its name, its version and the answers of the services it calls.
//!
//! Calls leave through the Pod's own Envoy: the connection goes to the address `--through` and the port of the URL, the
//! name stays in the `Host` header. In a cluster iptables does this; here there is no root to ask for it.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Parser;
use futures::future::join_all;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use crate::answer::Answer;
use crate::client::Client;

/// Headers that an application passes on so that the requests behind one request belong together (Istio's "Trace context
/// propagation"), and `end-user`, which examples of routing match on.
const PROPAGATED: [&str; 12] = [
    "x-request-id",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "traceparent",
    "tracestate",
    "baggage",
    "authorization",
    "end-user",
];

/// The command line of a service.
#[derive(Clone, Debug, Parser)]
#[command(name = "shop", about = "One service of the shop in samples/shop")]
pub struct Settings {
    /// The name of the service.
    #[arg(long)]
    pub name: String,
    /// Its version.
    #[arg(long)]
    pub version: String,
    /// The address it listens on.
    #[arg(long)]
    pub listen: SocketAddr,
    /// The address of its own Envoy; without one, calls fail.
    #[arg(long)]
    pub through: Option<IpAddr>,
    /// A URL that it asks for each request; may be given several times.
    #[arg(long)]
    pub call: Vec<Uri>,
    /// Milliseconds that it waits before it answers.
    #[arg(long, default_value_t = 0)]
    pub latency_ms: u64,
    /// Every how many requests one fails with status 500; 0 means none.
    #[arg(long, default_value_t = 0)]
    pub fail_every: u64,
}

struct Service {
    settings: Settings,
    client: Client,
    requests: AtomicU64,
}

/// Serves until the process ends.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let listener = TcpListener::bind(settings.listen).await.with_context(|| format!("cannot listen on {}", settings.listen))?;
    let service = Arc::new(Service { settings, client: Client::new(Duration::from_secs(10)), requests: AtomicU64::new(0) });
    loop {
        // A connection that is gone before it was accepted is no reason to end.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let handler = service_fn(move |request| {
                let service = Arc::clone(&service);
                async move { Ok::<_, Infallible>(service.respond(request).await) }
            });
            // An error here is a client that hung up.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), handler).await;
        });
    }
}

impl Service {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let headers = propagated(request.headers());
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let calls = join_all(self.settings.call.iter().map(|url| self.call(url, headers.clone()))).await;
        tokio::time::sleep(Duration::from_millis(self.settings.latency_ms)).await;
        let fails = self.settings.fail_every > 0 && count.is_multiple_of(self.settings.fail_every);
        let status = match (fails, calls.iter().all(Answer::is_success)) {
            (true, _) => StatusCode::INTERNAL_SERVER_ERROR,
            (false, true) => StatusCode::OK,
            (false, false) => StatusCode::BAD_GATEWAY,
        };
        let Settings { name, version, .. } = &self.settings;
        let answer = Answer { service: name.clone(), version: version.clone(), status: status.as_u16(), error: String::new(), calls };
        let mut response = Response::new(Full::from(serde_json::to_vec(&answer).unwrap_or_default()));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn call(&self, url: &Uri, headers: HeaderMap) -> Answer {
        let host = url.authority().map_or("", |authority| authority.as_str());
        let name = host.split([':', '.']).next().unwrap_or(host);
        let Some(through) = self.settings.through else {
            return Answer::failed(name, 0, "no --through: there is no Envoy to send it to".to_owned());
        };
        let address = SocketAddr::new(through, url.port_u16().unwrap_or(80));
        match self.client.get(address, host, url.path(), headers).await {
            Err(error) => Answer::failed(name, 0, format!("{error:#}")),
            Ok(reply) => serde_json::from_slice(&reply.body)
                .unwrap_or_else(|_| Answer::failed(name, reply.status, String::from_utf8_lossy(&reply.body).into_owned())),
        }
    }
}

fn propagated(headers: &HeaderMap) -> HeaderMap {
    PROPAGATED.iter().filter_map(|name| Some((hyper::header::HeaderName::from_static(name), headers.get(*name)?.clone()))).collect()
}
