//! The API server goes away under an istiod with real Envoys, a sidecar and a gateway, while every service is called all the
//! time; istiod itself may start anew meanwhile.
//!
//! All of it runs in one network, in which every address is local, so that endpoints have the addresses of Pods.

use super::{
    certificates::Authority,
    client::Caller,
    in_network,
    network::Network,
    proxy::Envoy,
    room::Room,
    sds::Sds,
    session::{Session, Variation},
    upstream::Upstream,
};
use crate::{
    case::Proxy,
    kube::{Api, ApiServer, Istiod, Ports},
};
use anyhow::{Context, Result, ensure};
use kube_source::Access;
use serde_json::{Value, from_value, json};
use simulation::{Call, Direction};
use std::{
    cell::{Cell, RefCell},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UnixListener},
    time::{Instant, sleep},
};

/// The services that are called.
const HOSTS: u8 = 20;
/// Their port.
const PORT: u16 = 8000;
/// The gateway's.
const GATEWAY: u16 = 8080;
/// How soon after the API server is back a change must have taken effect: the longest pause between two attempts of a watch,
/// and as much again for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// One time without API server.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// How long it is away.
    pub length: Duration,
    /// Whether istiod is killed meanwhile, and starts again while there is none.
    pub restart: bool,
}

/// What was seen.
#[derive(Clone, Copy, Default, Debug)]
pub struct Seen {
    /// The calls that were made; none failed.
    pub calls: usize,
    /// The longest time from a write, right after the API server was ready again, until calls through all proxies showed it.
    pub slowest: Duration,
}

/// Does all that with this istiod; `None` where there is no API server to be had.
///
/// # Errors
/// If a call failed, a change took too long to take effect, or a proxy lost what nobody had deleted.
pub fn check(istiod: &Path, outages: &[Outage], network: &Network) -> Result<Option<Seen>> {
    in_network(network, || run(istiod, outages))
}

async fn run(istiod: &Path, outages: &[Outage]) -> Result<Option<Seen>> {
    // A network without an interface to the outside has no address that it could find by itself.
    let flags = ["--disable-admission-plugins=ServiceAccount", "--advertise-address=10.255.0.1"];
    let Some(server) = ApiServer::start_with(&flags)? else { return Ok(None) };
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds").display().to_string();
    server.kubectl(&["apply", "--server-side", "-f", &definitions])?;
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;
    let api = Api::new(kube_source::connect(&Access::Kubeconfig(server.kubeconfig())).await?);
    let upstream = Upstream::new()?;
    populate(&api, &upstream).await?;

    let scratch = tempfile::tempdir()?;
    let ports = Ports::free()?;
    let process = Istiod::start(istiod, &server, ports)?;
    let (authority, mut envoys) = (Authority::new()?, Vec::new());
    for proxy in proxies()? {
        envoys.push(start(&proxy, ports, &authority, scratch.path()).await?);
    }
    let stage = Stage { program: istiod.to_owned(), ports, api, upstream, envoys, server: Some(server).into(), process: process.into() };
    for at in 0..HOSTS {
        stage.effective(at, |answer| answer.starts_with("10.1.0.")).await.with_context(|| host(at))?;
    }
    stage.under_load(outages).await.map(Some)
}

fn proxies() -> Result<[Proxy; 2]> {
    Ok([
        from_value(json!({ "type": "sidecar", "name": "client", "namespace": "shop", "ip": "127.0.10.1" }))?,
        from_value(
            json!({ "type": "router", "name": "gateway", "namespace": "shop", "ip": "127.0.10.2", "labels": { "istio": "gateway" } }),
        )?,
    ])
}

/// Starts the Envoy of `proxy`, which follows istiod wherever that starts again.
async fn start(proxy: &Proxy, ports: Ports, authority: &Authority, scratch: &Path) -> Result<Envoy> {
    let scratch = scratch.join(&proxy.name);
    std::fs::create_dir(&scratch)?;
    let (ads, sds) = (scratch.join("ads.sock"), scratch.join("sds.sock"));
    let wire = UnixListener::bind(&ads)?;
    tokio::spawn(async move {
        while let Ok((mut envoy, _)) = wire.accept().await {
            tokio::spawn(async move {
                // Without an istiod the connection ends at once, as it would without the wire.
                if let Ok(mut istiod) = TcpStream::connect((Ipv4Addr::LOCALHOST, ports.grpc)).await {
                    drop(copy_bidirectional(&mut envoy, &mut istiod).await);
                }
            });
        }
    });
    let _sds = Sds::serve(authority, &proxy.identity(), &sds)?;
    Envoy::start(proxy, &Room::of_case(), &scratch, &ads, proxy.has_agent().then_some(sds.as_path())).await
}

fn host(number: u8) -> String {
    format!("host-{number}")
}

fn endpoint(generation: u8, number: u8) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 1, generation, number + 1).into(), 9000)
}

fn object(version: &str, kind: &str, name: &str, body: Value) -> Value {
    let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name, "namespace": "shop" } });
    if let (Some(object), Value::Object(body)) = (object.as_object_mut(), body) {
        object.extend(body);
    }
    object
}

fn service(name: &str) -> Value {
    object("v1", "Service", name, json!({ "spec": { "ports": [{ "name": "http", "port": PORT, "targetPort": 9000 }] } }))
}

fn slice(name: &str, endpoint: SocketAddr) -> Value {
    let metadata = json!({ "name": name, "namespace": "shop", "labels": { "kubernetes.io/service-name": name } });
    let body = json!({
        "metadata": metadata, "addressType": "IPv4", "ports": [{ "name": "http", "port": endpoint.port() }],
        "endpoints": [{ "addresses": [endpoint.ip().to_string()], "conditions": { "ready": true } }],
    });
    object("discovery.k8s.io/v1", "EndpointSlice", name, body)
}

/// What the service answers says in which round its rule was written.
fn route(name: &str, round: usize) -> Value {
    let http = json!([{
        "headers": { "response": { "set": { "x-round": round.to_string() } } },
        "route": [{ "destination": { "host": name, "port": { "number": PORT } } }],
    }]);
    object(
        "networking.istio.io/v1",
        "VirtualService",
        name,
        json!({ "spec": { "hosts": [name], "gateways": ["mesh", "gateway"], "http": http } }),
    )
}

async fn populate(api: &Api, upstream: &Upstream) -> Result<()> {
    for namespace in ["istio-system", "shop"] {
        api.namespace(namespace).await?;
    }
    let servers = json!([{ "port": { "number": GATEWAY, "name": "http", "protocol": "HTTP" }, "hosts": ["*"] }]);
    api.create(&object(
        "networking.istio.io/v1",
        "Gateway",
        "gateway",
        json!({ "spec": { "selector": { "istio": "gateway" }, "servers": servers } }),
    ))
    .await?;
    for number in 0..HOSTS {
        create(api, upstream, &host(number), endpoint(0, number)).await?;
    }
    Ok(())
}

/// A service with an endpoint and a rule.
async fn create(api: &Api, upstream: &Upstream, name: &str, endpoint: SocketAddr) -> Result<()> {
    upstream.listen(endpoint, &Room::of_case())?;
    for object in [service(name), slice(name, endpoint), route(name, 0)] {
        api.create(&object).await?;
    }
    Ok(())
}

struct Stage {
    program: PathBuf,
    ports: Ports,
    api: Api,
    upstream: Upstream,
    envoys: Vec<Envoy>,
    server: RefCell<Option<ApiServer>>,
    process: RefCell<Istiod>,
}

impl Stage {
    async fn under_load(&self, outages: &[Outage]) -> Result<Seen> {
        let (over, calls) = (Cell::new(false), Cell::new(0));
        let clients = (0..4_u8).map(|client| self.load(client, &over, &calls));
        let change = async {
            let mut slowest = Duration::ZERO;
            for (round, outage) in (1_u8..).zip(outages) {
                let round = self.round(round, *outage).await.with_context(|| format!("{outage:?}"));
                match round {
                    Ok(took) => slowest = slowest.max(took),
                    Err(error) => {
                        over.set(true);
                        return Err(error);
                    }
                }
            }
            over.set(true);
            Ok(slowest)
        };
        let (lost, changed) = futures::future::join(futures::future::join_all(clients), change).await;
        let lost: Vec<String> = lost.into_iter().flatten().collect();
        ensure!(lost.is_empty(), "{} of {} calls were lost, first {:?}; {changed:?}", lost.len(), calls.get(), lost.first());
        Ok(Seen { calls: calls.get(), slowest: changed? })
    }

    /// One outage, then one change of each kind at once; how long the slowest of them took.
    async fn round(&self, round: u8, outage: Outage) -> Result<Duration> {
        let doomed = format!("doomed-{round}");
        create(&self.api, &self.upstream, &doomed, endpoint(100 + round, 0)).await?;
        self.answered(&doomed, |answer| answer.starts_with("10.1.")).await.context("before the outage")?;
        let before = self.removed().await?;

        self.with_server(ApiServer::kill_api_server).await?;
        if outage.restart {
            let (server, mut process) = (self.server.borrow(), self.process.borrow_mut());
            process.kill();
            *process = Istiod::start(&self.program, server.as_ref().context("no server")?, self.ports)?;
        }
        sleep(outage.length).await;
        ensure!(self.process.borrow().is_ready() != outage.restart, "an istiod that has seen nothing is not ready, any other stays so");
        ensure!(self.removed().await? == before, "clusters went with the API server");

        self.with_server(ApiServer::start_api_server).await??;
        let start = Instant::now();
        let (moved, changed) = (endpoint(round, 1), round % HOSTS);
        self.upstream.listen(moved, &Room::of_case())?;
        self.api.patch(&slice("host-1", moved), &json!({ "endpoints": slice("host-1", moved).get("endpoints") })).await?;
        self.api.patch(&route(&host(changed), 0), &json!({ "spec": route(&host(changed), usize::from(round)).get("spec") })).await?;
        self.api.delete(&route(&doomed, 0)).await?;
        self.api.delete(&service(&doomed)).await?;
        let late = format!("late-{round}");
        create(&self.api, &self.upstream, &late, endpoint(200 + round, 0)).await?;

        let wanted = format!(" round {round}");
        self.effective(1, |answer| answer.starts_with(&moved.to_string())).await.context("an endpoint")?;
        self.effective(changed, |answer| answer.ends_with(&wanted)).await.context("a rule")?;
        self.answered(&late, |answer| answer.starts_with("10.1.")).await.context("a new service")?;
        let took = start.elapsed();
        // Of each proxy the one that was deleted, and nothing else.
        let expected: Vec<u64> = before.iter().map(|removed| removed + 1).collect();
        while self.removed().await? != expected {
            ensure!(start.elapsed() < LIMIT, "{:?} clusters were removed, and {before:?} before", self.removed().await?);
            sleep(PAUSE).await;
        }
        Ok(took)
    }

    /// Does something to the API server, beside the calls.
    async fn with_server<R: Send + 'static>(&self, act: impl FnOnce(&mut ApiServer) -> R + Send + 'static) -> Result<R> {
        let mut server = self.server.take().context("no server")?;
        let (server, done) = tokio::task::spawn_blocking(move || {
            let done = act(&mut server);
            (server, done)
        })
        .await?;
        self.server.replace(Some(server));
        Ok(done)
    }

    /// How many clusters each proxy has given up.
    async fn removed(&self) -> Result<Vec<u64>> {
        let mut removed = Vec::new();
        for envoy in &self.envoys {
            removed.push(envoy.admin.counters().await?.get("cluster_manager.cluster_removed").copied().unwrap_or_default());
        }
        Ok(removed)
    }

    async fn effective(&self, number: u8, wanted: impl Fn(&str) -> bool) -> Result<()> {
        self.answered(&host(number), wanted).await
    }

    /// Until calls through both proxies are answered as `wanted`: with the endpoint and the round of the rule.
    async fn answered(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let (room, end) = (Room::of_case(), Instant::now() + LIMIT);
        for call in calls(name) {
            let mut session = Session::new(&call, caller(&room));
            loop {
                let answer = session.call(&Variation::default()).await;
                let round = answer.headers.get("x-round").map(String::as_str).unwrap_or_default();
                if answer.status == Some(200) && wanted(&format!("{} round {round}", answer.body)) {
                    break;
                }
                ensure!(Instant::now() < end, "no effect at {}:{} in {LIMIT:?}: {answer:?}", call.address, call.port);
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Calls all services in turn, over connections that are kept, until it is over; what failed.
    async fn load(&self, client: u8, over: &Cell<bool>, made: &Cell<usize>) -> Vec<String> {
        let room = Room::of_case();
        let ways = (0..HOSTS).map(|number| calls(&host((number + client * 5) % HOSTS)));
        let calls: Vec<Call> = ways.filter_map(|ways| ways.into_iter().nth(usize::from(client % 2))).collect();
        let mut sessions: Vec<Session<'_>> = calls.iter().map(|call| Session::new(call, caller(&room))).collect();
        let mut lost = Vec::new();
        while !over.get() {
            for (session, call) in sessions.iter_mut().zip(&calls) {
                let answer = session.call(&Variation::default()).await;
                made.set(made.get() + 1);
                if answer.status != Some(200) || !answer.headers.contains_key("x-endpoint") {
                    lost.push(format!("{}: {answer:?}", call.authority));
                }
                sleep(PAUSE).await;
            }
            // Nobody looks at what arrived, and there is much of it.
            drop(self.upstream.take());
        }
        lost
    }
}

/// The call of a service through the sidecar and through the gateway.
fn calls(name: &str) -> [Call; 2] {
    let authority = format!("{name}.shop.svc.cluster.local");
    let sidecar =
        Call { address: Ipv4Addr::new(10, 96, 9, 9).into(), port: PORT, authority: format!("{authority}:{PORT}"), ..Call::default() };
    let gateway = Call { address: Ipv4Addr::LOCALHOST.into(), port: GATEWAY, authority, direction: Direction::Direct, ..Call::default() };
    [sidecar, gateway]
}

fn caller(room: &Room) -> Caller<'_> {
    Caller { room, certificate: None, version: None }
}
