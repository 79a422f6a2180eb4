//! The gate against a local issuer: what passes when, rotation, an outage, and its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use anyhow::{Context, Result, bail, ensure};
use base::ClusterId;
use bytes::Bytes;
use config::{Change, Event, JwksSource};
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use istio_api::{AnyObject, Kind, Object, security::request_authentication::RequestAuthentication};
use jwks::{FileKeyStore, KeyStore, Options};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

/// What a local issuer answers.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<(String, usize)>>);

impl Issuer {
    async fn start() -> (Self, SocketAddr) {
        let issuer = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = issuer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let issuer = served.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = issuer.answer(request.uri().path(), address);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (issuer, address)
    }

    /// An empty text is an outage.
    fn serve(&self, keys: &str) {
        self.0.lock().unwrap().0 = keys.to_owned();
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }

    fn answer(&self, path: &str, address: SocketAddr) -> Response<Full<Bytes>> {
        let mut state = self.0.lock().unwrap();
        let body = match path {
            "/.well-known/openid-configuration" => format!(r#"{{"jwks_uri": "http://{address}/moved"}}"#),
            "/moved" => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::FOUND;
                response.headers_mut().insert("location", "/keys".parse().unwrap());
                return response;
            }
            _ => {
                state.1 += 1;
                state.0.clone()
            }
        };
        let mut response = Response::new(Full::from(body.clone()));
        if body.is_empty() {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }
}

fn policy(name: &str, issuer: &str, uri: &str) -> Event {
    let spec = serde_json::json!({ "jwtRules": [{ "issuer": issuer, "jwksUri": uri, "timeout": "2s" }] });
    let mut object = Object::<RequestAuthentication> {
        metadata: Default::default(),
        spec: serde_json::from_value(spec).unwrap(),
        status: Default::default(),
    };
    object.metadata.name = name.into();
    Event { cluster: ClusterId::new("one"), change: Change::Set(AnyObject::RequestAuthentication(Arc::new(object))) }
}

fn synced() -> Event {
    Event { cluster: ClusterId::new("one"), change: Change::Synced }
}

fn quick() -> Options {
    let short = Duration::from_millis(20);
    Options { refresh: short, retry: short, lifetime: Duration::from_millis(400), ..Options::default() }
}

struct Through {
    into: mpsc::Sender<Vec<Event>>,
    out: mpsc::Receiver<Vec<Event>>,
}

impl Through {
    fn new(options: Options) -> Self {
        let (into, events) = mpsc::channel(8);
        Self { into, out: jwks::through(events, options, None, &prometheus::Registry::new()) }
    }

    async fn next(&mut self) -> Result<Vec<Change>> {
        let batch = timeout(Duration::from_secs(10), self.out.recv()).await.context("nothing passes")?.context("the gate has ended")?;
        Ok(batch.into_iter().map(|event| event.change).collect())
    }

    /// The keys in the next batch, which holds nothing else.
    async fn next_keys(&mut self) -> Result<Option<String>> {
        match self.next().await?.as_slice() {
            [Change::Jwks { keys, .. }] => Ok(keys.as_ref().map(ToString::to_string)),
            other => bail!("{other:?}"),
        }
    }
}

fn key(id: &str) -> String {
    format!(r#"{{"keys":[{{"kid":"{id}","kty":"oct"}}]}}"#)
}

#[tokio::test]
async fn an_object_waits_for_its_keys_and_nothing_else_waits() -> Result<()> {
    let (issuer, address) = Issuer::start().await;
    issuer.serve(&key("a"));
    let mut gate = Through::new(Options::default());
    let object = policy("tokens", &format!("http://{address}/"), "");
    gate.into.send(vec![object, Event { cluster: ClusterId::new("one"), change: Change::Mesh(Arc::default()) }, synced()]).await?;
    ensure!(matches!(gate.next().await?.as_slice(), [Change::Mesh(_)]), "the mesh's settings do not wait");
    let released = gate.next().await?;
    let [Change::Jwks { source: JwksSource::Discovery(_), keys: Some(keys) }, Change::Set(_), Change::Synced] = released.as_slice() else {
        bail!("{released:?}");
    };
    assert_eq!(&**keys, key("a"));
    Ok(())
}

#[tokio::test]
async fn an_object_whose_issuer_is_away_passes_without_keys() -> Result<()> {
    let mut gate = Through::new(Options { blocked: vec!["127.0.0.0/8".parse()?], ..Options::default() });
    gate.into.send(vec![policy("tokens", "a", "http://127.0.0.1:9/keys"), synced()]).await?;
    ensure!(matches!(gate.next().await?.as_slice(), [Change::Set(_), Change::Synced]));
    Ok(())
}

#[tokio::test]
async fn only_other_keys_are_news_and_an_outage_ends_with_the_lifetime_of_the_last() -> Result<()> {
    let (issuer, address) = Issuer::start().await;
    issuer.serve(r#"{"keys":[{"kty":"oct","kid":"a"},{"kty":"oct","kid":"b"}]}"#);
    let mut gate = Through::new(quick());
    gate.into.send(vec![policy("tokens", "a", &format!("http://{address}/keys"))]).await?;
    ensure!(matches!(gate.next().await?.as_slice(), [Change::Jwks { keys: Some(_), .. }, Change::Set(_)]));
    // The same keys in another order, several times.
    issuer.serve(r#"{"keys":[{"kid":"b","kty":"oct"},{"kid":"a","kty":"oct"}]}"#);
    let before = issuer.asked();
    while issuer.asked() < before + 5 {
        ensure!(gate.out.try_recv().is_err(), "nothing has changed");
        tokio::task::yield_now().await;
    }
    issuer.serve(&key("c"));
    assert_eq!(gate.next_keys().await?, Some(key("c")));
    issuer.serve("");
    let before = issuer.asked();
    while issuer.asked() < before + 3 {
        ensure!(gate.out.try_recv().is_err(), "an outage alone changes nothing");
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.next_keys().await?, None);
    issuer.serve(&key("d"));
    assert_eq!(gate.next_keys().await?, Some(key("d")));
    // Nobody wants them any more.
    let gone = Change::Delete { kind: Kind::RequestAuthentication, namespace: Default::default(), name: "tokens".into() };
    gate.into.send(vec![Event { cluster: ClusterId::new("one"), change: gone }]).await?;
    ensure!(matches!(gate.next().await?.as_slice(), [Change::Delete { .. }, Change::Jwks { keys: None, .. }]));
    Ok(())
}

#[tokio::test]
async fn what_a_waiting_object_replaces_keeps_its_keys() -> Result<()> {
    let (issuer, address) = Issuer::start().await;
    issuer.serve(&key("a"));
    let mut gate = Through::new(Options::default());
    gate.into.send(vec![policy("tokens", "a", &format!("http://{address}/keys"))]).await?;
    gate.next().await?;
    gate.into.send(vec![policy("tokens", "a", &format!("http://{address}/other"))]).await?;
    let batch = gate.next().await?;
    let [Change::Jwks { keys: Some(_), .. }, Change::Set(_), Change::Jwks { keys: None, source: JwksSource::Uri(old) }] = batch.as_slice()
    else {
        bail!("{batch:?}");
    };
    assert!(old.ends_with("/keys"));
    Ok(())
}

#[tokio::test]
async fn keys_outlive_a_restart_until_they_are_too_old() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = || Arc::new(FileKeyStore(folder.path().join("keys/issuers.json"))) as Arc<dyn KeyStore>;
    let start = |options| {
        let (into, events) = mpsc::channel(8);
        Through { into, out: jwks::through(events, options, Some(store()), &prometheus::Registry::new()) }
    };
    let (issuer, address) = Issuer::start().await;
    issuer.serve(&key("a"));
    let uri = format!("http://{address}/keys");
    let gate = start(Options::default());
    gate.into.send(vec![policy("tokens", "a", &uri)]).await?;
    timeout(Duration::from_secs(10), async {
        while store().load().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    issuer.serve("");
    // Nothing waits, and the object comes with its keys.
    let mut gate = start(Options::default());
    gate.into.send(vec![policy("tokens", "a", &uri), synced()]).await?;
    let first = gate.next().await?;
    let [Change::Jwks { keys: Some(keys), .. }, Change::Set(_), Change::Synced] = first.as_slice() else { bail!("{first:?}") };
    assert_eq!(&**keys, key("a"));
    // What is too old is as if it were not there.
    let mut known = store().load().await.unwrap();
    known.values_mut().for_each(|keys| keys.confirmed -= 25 * 60 * 60);
    std::fs::write(folder.path().join("keys/issuers.json"), jwks::store::encode(&known)?)?;
    let mut gate = start(Options::default());
    gate.into.send(vec![policy("tokens", "a", &uri), synced()]).await?;
    ensure!(matches!(gate.next().await?.as_slice(), [Change::Set(_), Change::Synced]));
    // Nor is there anything in a text of another kind.
    std::fs::write(folder.path().join("keys/issuers.json"), "{")?;
    let mut gate = start(Options::default());
    gate.into.send(vec![policy("tokens", "a", &uri), synced()]).await?;
    ensure!(matches!(gate.next().await?.as_slice(), [Change::Set(_), Change::Synced]));
    Ok(())
}
