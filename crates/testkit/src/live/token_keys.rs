//! A real Envoy and an issuer of tokens that rotates its keys, is away for a while, and stays away for too long.

use super::{
    certificates::Authority,
    client::{self, Caller},
    in_network,
    network::Network,
    room::Room,
    upstream::Upstream,
    workload::{Running, Workload},
};
use crate::{call::CALLER, case::Case, mesh};
use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use config::Event;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use jwks::{FileKeyStore, KeyStore};
use serde_json::json;
use simulation::{Call, Direction};
use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Instant, sleep},
};
use xds::{Input, State};

/// Where the case's RequestAuthentication says that the keys are.
const ISSUER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)), 8090);
/// How long keys are good for while the issuer is away.
const LIFETIME: Duration = Duration::from_secs(3);
/// No change takes longer to reach Envoy.
const LIMIT: Duration = Duration::from_secs(30);

/// Plays the whole story on the workload of the case.
///
/// # Errors
/// If a good token is refused, or one without a key let in.
pub fn check(case: &Case, network: &Network) -> Result<()> {
    in_network(network, || run(case))
}

async fn run(case: &Case) -> Result<()> {
    let (first, second) = (Signer::new("first")?, Signer::new("second")?);
    let issuer = Issuer::start().await?;
    issuer.serve(Some(&[&first]));
    let upstream = Upstream::new()?;
    upstream.listen(SocketAddr::new(case.file.proxy.ip, 9080), &Room::of_case())?;
    let scratch = tempfile::tempdir()?;
    let mut stage = Stage::start(case, scratch.path(), Keys { lifetime: LIFETIME, store: None, elsewhere: false }).await?;

    stage.holds(&first.token()?, 200).await?;
    stage.holds(&second.token()?, 401).await?;
    // Rotation: both, then the new one alone.
    issuer.serve(Some(&[&second, &first]));
    stage.until(&second.token()?, 200).await?;
    stage.holds(&first.token()?, 200).await?;
    issuer.serve(Some(&[&second]));
    stage.until(&first.token()?, 401).await?;
    stage.holds(&second.token()?, 200).await?;
    // The same keys again and again are no news.
    let (turns, asked) = (stage.turns, issuer.asked());
    while issuer.asked() < asked + 5 {
        stage.holds(&second.token()?, 200).await?;
    }
    ensure!(stage.turns == turns, "istiod has taken {} turns over keys that are the same", stage.turns - turns);
    // An outage, which ends in time.
    issuer.serve(None);
    let asked = issuer.asked();
    while issuer.asked() < asked + 3 {
        stage.holds(&second.token()?, 200).await?;
    }
    ensure!(stage.turns == turns, "an outage alone changes nothing");
    issuer.serve(Some(&[&first]));
    stage.until(&first.token()?, 200).await?;
    // One that does not.
    issuer.serve(None);
    stage.until(&first.token()?, 401).await?;
    issuer.serve(Some(&[&first]));
    stage.until(&first.token()?, 200).await?;
    stage.end().await?;
    restarts(case, scratch.path(), &issuer, &first).await
}

/// istiod is started again while the issuer is away: the keys of before are good until they are too old.
async fn restarts(case: &Case, scratch: &Path, issuer: &Issuer, signer: &Signer) -> Result<()> {
    let store = scratch.join("issuer-keys.json");
    let keys = |lifetime| Keys { lifetime, store: Some(store.clone()), elsewhere: false };
    let long = Duration::from_secs(600);
    let mut stage = Stage::start(case, &own(scratch, "kept")?, keys(long)).await?;
    stage.until(&signer.token()?, 200).await?;
    let end = Instant::now() + LIMIT;
    while !store.exists() {
        ensure!(Instant::now() < end, "the keys are not kept");
        sleep(Duration::from_millis(10)).await;
    }
    stage.end().await?;
    issuer.serve(None);
    let mut stage = Stage::start(case, &own(scratch, "restarted")?, keys(long)).await?;
    stage.holds(&signer.token()?, 200).await?;
    stage.end().await?;
    // Too old, they are none.
    sleep(Duration::from_secs(1)).await;
    let mut stage = Stage::start(case, &own(scratch, "too-late")?, keys(Duration::from_secs(1))).await?;
    stage.holds(&signer.token()?, 401).await?;
    issuer.serve(Some(&[signer]));
    stage.until(&signer.token()?, 200).await?;
    stage.end().await
}

/// A folder for one Envoy.
fn own(scratch: &Path, name: &str) -> Result<PathBuf> {
    let folder = scratch.join(name);
    std::fs::create_dir(&folder)?;
    Ok(folder)
}

/// Plays what happens where Envoy fetches the keys itself.
///
/// # Errors
/// If a good token is refused, one without a key let in, or istiod asks the issuer.
pub fn check_elsewhere(case: &Case, network: &Network) -> Result<()> {
    in_network(network, || elsewhere(case))
}

async fn elsewhere(case: &Case) -> Result<()> {
    let (first, second) = (Signer::new("first")?, Signer::new("second")?);
    let issuer = Issuer::start().await?;
    let upstream = Upstream::new()?;
    upstream.listen(SocketAddr::new(case.file.proxy.ip, 9080), &Room::of_case())?;
    let scratch = tempfile::tempdir()?;
    let mut stage = Stage::start(case, scratch.path(), Keys { lifetime: LIFETIME, store: None, elsewhere: true }).await?;
    ensure!(issuer.asked() == 0, "istiod has asked the issuer");
    // Without keys every token is refused.
    stage.holds(&first.token()?, 401).await?;
    issuer.serve(Some(&[&first]));
    stage.until(&first.token()?, 200).await?;
    stage.holds(&second.token()?, 401).await?;
    // What Envoy has is good while the issuer is away.
    issuer.serve(None);
    stage.holds(&first.token()?, 200).await?;
    stage.end().await
}

/// istiod's pipeline behind the gate of keys, and an Envoy.
struct Stage<'a> {
    state: State,
    events: mpsc::Receiver<Vec<Event>>,
    /// Kept open: the gate ends with it.
    _sources: mpsc::Sender<Vec<Event>>,
    workload: Workload<'a>,
    running: Running,
    turns: usize,
}

/// How keys are had.
struct Keys {
    /// How long they are good for while the issuer is away.
    lifetime: Duration,
    /// The file that keeps them.
    store: Option<PathBuf>,
    /// Whether Envoy fetches them.
    elsewhere: bool,
}

impl<'a> Stage<'a> {
    async fn start(case: &'a Case, scratch: &Path, keys: Keys) -> Result<Self> {
        let often = Duration::from_millis(50);
        let Keys { lifetime, store, elsewhere } = keys;
        let options = jwks::Options { refresh: often, retry: often, lifetime, uris_elsewhere: elsewhere, ..jwks::Options::default() };
        let (sources, into) = mpsc::channel(4);
        let store = store.map(|path| Arc::new(FileKeyStore(path)) as Arc<dyn KeyStore>);
        let mut events = jwks::through(into, options, store, &prometheus::Registry::new());
        let mut first = mesh::events(case)?;
        first.push(Event { cluster: mesh::cluster(), change: config::Change::Synced });
        sources.send(first).await?;
        let (mut state, mut view) = (mesh::state(case), None);
        let mut inputs = vec![mesh::connect(case)?];
        // What does not wait for keys comes first.
        while !state.store().request_authentications.iter(&mut incremental::Cx::default()).any(|_| true) {
            let batch = tokio::time::timeout(LIMIT, events.recv()).await?.context("the gate has ended")?;
            inputs.extend(batch.into_iter().map(Input::Event));
            view = state.turn(std::mem::take(&mut inputs)).views.into_iter().next().map(|(_, view)| view).or(view);
        }
        let workload = Workload::new(&case.file.proxy, view.context("no view")?, Room::of_case())?;
        let running = workload.start(&Authority::new()?, scratch).await?;
        Ok(Self { state, events, _sources: sources, workload, running, turns: 0 })
    }

    /// Takes a turn for everything that has come.
    fn follow(&mut self) -> Result<()> {
        while let Ok(batch) = self.events.try_recv() {
            self.turns += 1;
            for (_, view) in self.state.turn(batch.into_iter().map(Input::Event).collect()).views {
                self.workload.update(view, &self.running)?;
            }
        }
        Ok(())
    }

    async fn ask(&self, token: &str) -> Result<u16> {
        let call = Call {
            direction: Direction::Inbound,
            address: self.workload.proxy.ip,
            port: 9080,
            source: CALLER.into(),
            authority: "catalog:9080".to_owned(),
            headers: [("authorization".to_owned(), format!("Bearer {token}"))].into(),
            ..Call::default()
        };
        let caller = Caller { room: &self.workload.room, certificate: None, version: None };
        let answer = client::call(&call, caller, None).await?;
        answer.status.with_context(|| format!("no answer: {answer:?}"))
    }

    /// The token is answered so, now.
    async fn holds(&mut self, token: &str, wanted: u16) -> Result<()> {
        self.follow()?;
        let found = self.ask(token).await?;
        ensure!(found == wanted, "should be answered with {wanted}, not {found}, after {} turns", self.turns);
        Ok(())
    }

    /// The token is answered so before long.
    async fn until(&mut self, token: &str, wanted: u16) -> Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            self.follow()?;
            let found = self.ask(token).await?;
            if found == wanted {
                return Ok(());
            }
            ensure!(Instant::now() < end, "should be answered with {wanted} at last, not {found}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(mut self) -> Result<()> {
        self.running.envoy.stop().await;
        let refusals = self.running.served.refusals();
        ensure!(refusals.is_empty(), "Envoy refused its configuration: {refusals}");
        Ok(())
    }
}

/// A key of the issuer.
struct Signer {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| anyhow!("no key can be made"))?;
        Ok(Self { id, pair })
    }

    /// Its public half.
    fn jwk(&self) -> serde_json::Value {
        let point = self.pair.public_key().as_ref();
        let half = |range| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.id, "x": half(1..33), "y": half(33..65) })
    }

    /// A token of the issuer.
    fn token(&self) -> Result<String> {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({ "alg": "ES256", "kid": self.id }));
        let payload = part(json!({ "iss": "https://issuer.example", "sub": "ada", "exp": 4_102_444_800_u64 }));
        let signed = format!("{header}.{payload}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| anyhow!("cannot sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

/// Serves keys, or answers 503.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<(Option<String>, usize)>>);

impl Issuer {
    async fn start() -> Result<Self> {
        let issuer = Self::default();
        let listener = TcpListener::bind(ISSUER).await.context("the issuer")?;
        let served = issuer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let issuer = served.clone();
                let service = service_fn(move |_: Request<Incoming>| {
                    let answer = issuer.answer();
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(issuer)
    }

    /// `None` is an outage.
    fn serve(&self, signers: Option<&[&Signer]>) {
        let keys = signers.map(|signers| json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = keys;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn answer(&self) -> Response<Full<Bytes>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        let keys = state.0.clone();
        let status = if keys.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut response = Response::new(Full::from(keys.unwrap_or_default()));
        *response.status_mut() = status;
        response
    }
}
