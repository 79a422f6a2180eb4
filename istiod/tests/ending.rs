//! The end of a process among others: nobody is lost who asks it something.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed unwrap is a failed test

mod client;
mod istiod;

use client::{Client, node};
use http_body_util::{BodyExt, Full};
use hyper::{
    Version,
    body::Bytes,
    client::conn::{http1, http2},
    header::HOST,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use istiod::Istiod;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"CREATE",
    "kind":{"group":"networking.istio.io","version":"v1","kind":"VirtualService"},"namespace":"shop",
    "object":{"metadata":{"name":"a"},"spec":{"hosts":["a.b"],"http":[{"route":[{"destination":{"host":"a.b"}}]}]}}}}"#;

/// What became of the questions of all askers: answers by process, and questions without one.
#[derive(Default)]
struct Counts {
    answered: [AtomicUsize; 2],
    lost: AtomicUsize,
    over: AtomicBool,
}

/// A connection by either version.
enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    async fn open(client: &Client, version: Version) -> Option<Self> {
        let stream = TokioIo::new(client.connect("istiod.istio-system.svc").await.ok()?);
        if version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.ok()?;
            tokio::spawn(connection);
            return Some(Self::Http2(sender));
        }
        let (sender, connection) = http1::handshake(stream).await.ok()?;
        tokio::spawn(connection);
        Some(Self::Http1(sender))
    }

    /// The body of the answer; `None` if the connection takes no question any more, and nothing has been asked.
    async fn ask(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        let uri = "https://istiod.istio-system.svc/validate";
        let request = hyper::Request::post(uri).header(HOST, "istiod.istio-system.svc").body(Full::from(REVIEW)).unwrap();
        let answer = match self {
            Self::Http1(sender) => {
                sender.ready().await.ok()?;
                sender.try_send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await.ok()?;
                sender.try_send_request(request).await
            }
        };
        match answer {
            Ok(response) => Some(response.into_body().collect().await.map(|body| body.to_bytes())),
            Err(mut error) => match error.take_message() {
                Some(_) => None,
                None => Some(Err(error.into_error())),
            },
        }
    }
}

/// Asks one question after another, as an API server does: over one connection as long as that takes questions, then over
/// a new one; the first process that can be connected to gets them.
async fn ask(clients: Arc<[Client; 2]>, version: Version, counts: Arc<Counts>) {
    while !counts.over.load(Ordering::Relaxed) {
        let mut connected = None;
        for (index, client) in clients.iter().enumerate() {
            if connected.is_none() {
                connected = Connection::open(client, version).await.map(|connection| (index, connection));
            }
        }
        let Some((index, mut connection)) = connected else { continue };
        while !counts.over.load(Ordering::Relaxed) {
            let Some(answer) = connection.ask().await else { break };
            let counter = match answer {
                Ok(body) if String::from_utf8_lossy(&body).contains(r#""allowed":true"#) => counts.answered.get(index).unwrap(),
                other => {
                    eprintln!("lost by {version:?}: {other:?}");
                    &counts.lost
                }
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_asked_is_lost() {
    let mut ending = Istiod::start_with("", &["--drainDuration=1s"]);
    let staying = Istiod::start_with("", &[]);
    let client = |istiod: &Istiod, address: &str| Client::new(address, &istiod.path("ca/root-cert.pem"), None);
    let webhooks = Arc::new([client(&ending, &ending.webhook), client(&staying, &staying.webhook)]);
    let counts = Arc::new(Counts::default());
    let versions = [Version::HTTP_11, Version::HTTP_2].repeat(3);
    let askers: Vec<_> = versions.into_iter().map(|version| tokio::spawn(ask(webhooks.clone(), version, counts.clone()))).collect();
    let token = ending.token(&["--namespace=shop", "--serviceAccount=cart"]);
    let mut stream = client(&ending, &ending.secured).stream(node("cart-0", "shop", "cart"), Some(&token), CLUSTERS).await.unwrap();
    let answered = |index: usize| counts.answered.get(index).unwrap().load(Ordering::Relaxed);
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < deadline, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until("questions are answered", &|| answered(0) > 100).await;

    let asked_to_end = Instant::now();
    ending.terminate();
    ending.wait_for("/ready", |status, body| status == 503 && body == "going down\n");
    // Not ready any more, and still there for everybody.
    let before = answered(0);
    until("it answers although it is not ready", &|| answered(0) > before + 50).await;
    assert!(asked_to_end.elapsed() < Duration::from_secs(1), "the machine is too slow to tell: {:?}", asked_to_end.elapsed());
    client(&ending, &ending.secured).certificate(Some(&token)).await.unwrap();

    // Then everybody goes elsewhere.
    let end = stream.next().await.unwrap_err();
    assert_eq!(end.code(), tonic::Code::Unavailable, "{end}");
    assert!(asked_to_end.elapsed() >= Duration::from_secs(1), "{:?}", asked_to_end.elapsed());
    let before = answered(1);
    until("the other one is asked", &|| answered(1) > before + 100).await;
    counts.over.store(true, Ordering::Relaxed);
    futures::future::join_all(askers).await;
    assert_eq!(counts.lost.load(Ordering::Relaxed), 0);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match ending.ended() {
            Some(status) => break assert!(status.success(), "{status}"),
            None => assert!(Instant::now() < deadline, "it does not end"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(asked_to_end.elapsed() < Duration::from_secs(8), "{:?}", asked_to_end.elapsed());
}
