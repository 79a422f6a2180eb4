//! Virtual hosts one by one (VHDS) on a real Envoy under load: changes, renames, route configurations that come and go,
//! streams that break, control planes and Envoys that start again, and an Envoy that has them inline.

use super::{
    certificates::Authority,
    client::Caller,
    in_network,
    network::Network,
    room::Room,
    session::{Session, Variation},
    upstream::Upstream,
    workload::{Running, Workload},
};
use crate::{case::Proxy, mesh};
use anyhow::{Context, Result, anyhow, ensure};
use base::DomainSuffix;
use config::{
    Features,
    file::{Contents, FileSet},
};
use serde_json::{from_value, json};
use simulation::Call;
use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep};
use xds::{Input, State, parse_node};
use xds_api::{Wire, envoy::config::core::v3::Node};
use xds_wire::{Encoded, ResourceType, Resources, View};

/// The services that are called.
const HOSTS: u8 = 20;
/// Their port.
const PORT: u16 = 8000;
/// A change that takes longer has run into one of Envoy's waits of 15 seconds.
const LIMIT: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(5);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How often a rule changes, a name moves to another service, and a service gets another name.
    pub changes: usize,
    /// How often the stream breaks.
    pub reconnects: usize,
    /// How often the control plane goes away and comes back.
    pub restarts: usize,
    /// How often Envoy itself is killed and starts again.
    pub crashes: usize,
}

/// What was seen.
#[derive(Clone, Copy, Default, Debug)]
pub struct Seen {
    /// The calls that were made; none failed.
    pub calls: usize,
    /// The longest time from a change until a call showed it.
    pub slowest: Duration,
}

/// What the mesh looks like at present.
#[derive(Clone, Default)]
struct Shape {
    /// The round in which each host was changed last.
    rounds: Vec<usize>,
    /// The service that the name `moving` stands for.
    moving: u8,
    /// How often the service `named-…` has been given another name.
    name: usize,
    /// A further port of the first service, which has a route configuration of its own.
    port: Option<u16>,
}

/// Does all that, while every service is called all the time.
///
/// # Errors
/// If a call failed, a change took seconds to take effect, or Envoy refused something.
pub fn check(extent: Extent, network: &Network) -> Result<Seen> {
    in_network(network, || run(extent))
}

async fn run(extent: Extent) -> Result<Seen> {
    let proxy: Proxy = from_value(json!({"type": "sidecar", "name": "client", "namespace": "shop", "ip": "127.0.10.1"}))?;
    let upstream = Upstream::new()?;
    for number in 0..HOSTS {
        upstream.listen(SocketAddr::new(endpoint(number), 9000), &Room::of_case())?;
    }
    let authority = Authority::new()?;
    let mut seen = Seen::default();
    for one_by_one in [true, false] {
        let scratch = tempfile::tempdir()?;
        let mut stage = Stage::start(&proxy, &authority, scratch.path(), one_by_one).await?;
        let how = || format!("one by one: {one_by_one}");
        seen.calls += stage.under_load(extent).await.with_context(how)?;
        ensure!(stage.takes_one_by_one().await? == one_by_one, "Envoy gets virtual hosts in the other way");
        seen.slowest = seen.slowest.max(stage.slowest.get());
        seen.calls += stage.crashes(extent.crashes, &proxy, &authority).await.with_context(how)?;
        stage.stop().await;
    }
    without_hosts(&proxy, &authority).await?;
    beside_a_refused_one(&proxy, &authority).await?;
    Ok(seen)
}

/// An Envoy that starts with a route configuration in which there is no virtual host yet: it must not wait for one.
async fn without_hosts(proxy: &Proxy, authority: &Authority) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let mut mesh = Mesh::new(proxy, true)?;
    let full = mesh.apply(&Shape::new())?.context("no view")?;
    let mut empty = (*full).clone();
    empty.set(ResourceType::VirtualHost, Resources::default());
    let start = Instant::now();
    let mut running = Workload::new(proxy, Arc::new(empty), Room::of_case())?.start(authority, scratch.path()).await?;
    ensure!(start.elapsed() < LIMIT, "it took {:?} to start without virtual hosts", start.elapsed());
    running.served.publish(full);
    let call = call("host-0", PORT);
    let answered = effective(&call, None).await;
    running.envoy.stop().await;
    answered.context("the first virtual host of a route configuration")
}

/// An Envoy that refuses one virtual host, without its name: it must get all others, at its start and when they change.
async fn beside_a_refused_one(proxy: &Proxy, authority: &Authority) -> Result<()> {
    let (scratch, name) = (tempfile::tempdir()?, format!("{PORT}/host-5-again"));
    let host = json!({
        "name": name,
        "domains": ["host-5-again"],
        "routes": [{"match": {"safe_regex": {"regex": "("}}, "direct_response": {"status": 200}}],
    });
    let host = xds_wire::json::from_json("envoy.config.route.v3.VirtualHost", &host)?;
    let host = Arc::new(Encoded::new(ResourceType::VirtualHost, name.as_str().into(), &host, Arc::from([])));
    let with = |view: Arc<View>| {
        let mut view = (*view).clone();
        view.set(ResourceType::VirtualHost, view.of(ResourceType::VirtualHost).clone().with(host.clone()));
        Arc::new(view)
    };
    let (mut mesh, mut shape) = (Mesh::new(proxy, true)?, Shape::new());
    let view = with(mesh.apply(&shape)?.context("no view")?);
    let mut running = Workload::new(proxy, view, Room::of_case())?.start(authority, scratch.path()).await?;
    for round in 0..3 {
        for host in (0..HOSTS).map(|number| format!("host-{number}")) {
            effective(&call(&host, PORT), Some(&round.to_string()))
                .await
                .with_context(|| format!("beside a refused host, round {round}"))?;
        }
        shape.rounds.fill(round + 1);
        running.served.publish(with(mesh.apply(&shape)?.context("no view")?));
    }
    let refused = running.served.refused_resources();
    running.envoy.stop().await;
    ensure!(refused.iter().eq([&name]), "only {name} should be refused, not {refused:?}");
    Ok(())
}

fn endpoint(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 1, 0, number + 1).into()
}

fn call(host: &str, port: u16) -> Call {
    Call { address: Ipv4Addr::new(10, 96, 9, 9).into(), port, authority: format!("{host}:{port}"), ..Call::default() }
}

impl Shape {
    fn new() -> Self {
        Self { rounds: vec![0; usize::from(HOSTS)], moving: 0, name: 0, port: None }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (number, round) in (0..HOSTS).zip(&self.rounds) {
            let more = self.port.filter(|_| number == 0).map(|port| format!(", {{name: http-more, port: {port}, targetPort: 9000}}"));
            // Writing to a text cannot fail.
            let _ = write!(
                out,
                "---
apiVersion: v1
kind: Service
metadata: {{name: host-{number}, namespace: shop}}
spec:
  clusterIP: 10.96.1.{}
  ports: [{{name: http, port: {PORT}, targetPort: 9000}}{more}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: host-{number}, namespace: shop, labels: {{kubernetes.io/service-name: host-{number}}}}}
addressType: IPv4
ports: [{{name: http, port: 9000}}{more_ports}]
endpoints: [{{addresses: [{endpoint}], conditions: {{ready: true}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: host-{number}, namespace: shop}}
spec:
  hosts: [host-{number}]
  http:
  - headers: {{response: {{set: {{x-round: '{round}'}}}}}}
    route: [{{destination: {{host: host-{number}, port: {{number: {PORT}}}}}}}]
",
                number + 1,
                more = more.as_deref().unwrap_or_default(),
                more_ports = more.as_ref().map_or("", |_| ", {name: http-more, port: 9000}"),
                endpoint = endpoint(number),
            );
        }
        let _ = write!(
            out,
            "---
apiVersion: v1
kind: Service
metadata: {{name: moving, namespace: shop}}
spec: {{type: ExternalName, externalName: host-{}.shop.svc.cluster.local, ports: [{{name: http, port: {PORT}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: named-{}, namespace: shop}}
spec: {{type: ExternalName, externalName: host-0.shop.svc.cluster.local, ports: [{{name: http, port: {PORT}}}]}}
",
            self.moving, self.name
        );
        out
    }
}

/// The pipeline behind one file and one proxy.
struct Mesh {
    files: FileSet,
    state: State,
}

impl Mesh {
    fn new(proxy: &Proxy, one_by_one: bool) -> Result<Self> {
        let flag = |name: &str| (name == "ISTIOD_ENABLE_VHDS").then(|| one_by_one.to_string());
        let mut state = State::with_features(DomainSuffix::new("cluster.local"), Features::read(flag));
        let node = Node::from_bytes(&xds_wire::json::from_json("envoy.config.core.v3.Node", &proxy.node())?)?;
        state.turn(vec![Input::Connected(mesh::PROXY, Box::new(parse_node(&node).map_err(|error| anyhow!("{}", error.0))?))]);
        Ok(Self { files: FileSet::new(mesh::cluster()), state })
    }

    fn apply(&mut self, shape: &Shape) -> Result<Option<Arc<View>>> {
        let events = self.files.apply([("mesh.yaml".into(), Contents::Bytes(shape.text().into_bytes()))]);
        ensure!(mesh::objects(&events).next().is_some(), "nothing differs");
        let publication = self.state.turn(events.into_iter().map(Input::Event).collect());
        Ok(publication.views.into_iter().next().map(|(_, view)| view))
    }
}

/// One Envoy with what serves it.
struct Stage {
    mesh: RefCell<Mesh>,
    shape: RefCell<Shape>,
    view: RefCell<Arc<View>>,
    running: RefCell<Running>,
    slowest: Cell<Duration>,
}

impl Stage {
    /// Without `one_by_one`, Envoy starts with virtual hosts inline, and then the control plane would send them one by one.
    async fn start(proxy: &Proxy, authority: &Authority, scratch: &std::path::Path, one_by_one: bool) -> Result<Self> {
        let shape = Shape::new();
        let mut mesh = Mesh::new(proxy, one_by_one)?;
        let view = mesh.apply(&shape)?.context("no view")?;
        let running = Workload::new(proxy, view.clone(), Room::of_case())?.start(authority, scratch).await?;
        let slowest = Cell::default();
        let stage = Self { mesh: mesh.into(), shape: shape.into(), view: view.into(), running: running.into(), slowest };
        effective(&call("host-0", PORT), None).await?;
        if !one_by_one {
            let mut other = Mesh::new(proxy, true)?;
            let view = other.apply(&stage.shape.borrow())?.context("no view")?;
            stage.mesh.replace(other);
            stage.view.replace(view.clone());
            let mut running = stage.running.borrow_mut();
            running.served.stop();
            running.served.publish(view);
            running.served.start()?;
        }
        Ok(stage)
    }

    async fn stop(self) {
        let mut running = self.running.into_inner();
        running.served.stop();
        running.envoy.stop().await;
    }

    async fn takes_one_by_one(&self) -> Result<bool> {
        let admin = self.running.borrow().envoy.admin.clone();
        Ok(admin.counters().await?.keys().any(|name| name.contains(".vhds.")))
    }

    /// The number of calls that were made.
    async fn under_load(&self, extent: Extent) -> Result<usize> {
        let (over, calls) = (Cell::new(false), Cell::new(0));
        let clients = (0..4_u8).map(|client| load(client, &over, &calls));
        let change = async {
            let changed = self.change(extent).await;
            over.set(true);
            changed
        };
        let (lost, changed) = futures::future::join(futures::future::join_all(clients), change).await;
        let refusals = self.running.borrow().served.refusals();
        ensure!(refusals.is_empty(), "refused: {refusals}");
        changed?;
        let lost: Vec<String> = lost.into_iter().flatten().collect();
        ensure!(lost.is_empty(), "{} of {} calls were lost, first {:?}", lost.len(), calls.get(), lost.first());
        Ok(calls.get())
    }

    async fn change(&self, extent: Extent) -> Result<()> {
        for round in 1..=extent.changes {
            self.rule(round).await?;
            self.turn(|shape| shape.moving = (shape.moving + 1) % HOSTS)?;
            self.rename(round).await?;
            if round % 10 == 0 {
                self.further_port(PORT + 100, round % 20 == 0).await.context("a further route configuration")?;
            }
        }
        let mut round = extent.changes;
        for _ in 0..extent.reconnects {
            round += 1;
            self.running.borrow().served.disconnect();
            self.turn(|shape| shape.moving = (shape.moving + 1) % HOSTS)?;
            self.rename(round).await.context("after a broken stream")?;
            self.rule(round).await.context("after a broken stream")?;
        }
        for _ in 0..extent.restarts {
            round += 1;
            self.running.borrow().served.stop();
            self.turn(|shape| shape.moving = (shape.moving + 1) % HOSTS)?;
            self.running.borrow_mut().served.start()?;
            self.rename(round).await.context("after a restart of the control plane")?;
            self.rule(round).await.context("after a restart of the control plane")?;
        }
        Ok(())
    }

    /// Kills Envoy and starts it again, and the mesh changes before that. Once it says that it is ready, every host must be
    /// answered at the first call; how many that were.
    async fn crashes(&mut self, times: usize, proxy: &Proxy, authority: &Authority) -> Result<usize> {
        let room = Room::of_case();
        for crash in 1..=times {
            self.running.get_mut().envoy.stop().await;
            self.turn(|shape| shape.name = crash)?;
            let view = self.view.borrow().clone();
            let scratch = tempfile::tempdir()?;
            let running = Workload::new(proxy, view, Room::of_case())?.start(authority, scratch.path()).await?;
            let earlier = self.running.replace(running);
            earlier.served.stop();
            for host in (0..HOSTS).map(|number| format!("host-{number}")).chain(["moving".to_owned(), format!("named-{crash}")]) {
                let call = call(&host, PORT);
                let answer =
                    Session::new(&call, Caller { room: &room, certificate: None, version: None }).call(&Variation::default()).await;
                ensure!(answer.status == Some(200), "{host} is not there after start {crash} of Envoy: {answer:?}");
            }
        }
        Ok(times * (usize::from(HOSTS) + 2))
    }

    /// Gives a service another name: one virtual host goes, and another comes.
    async fn rename(&self, round: usize) -> Result<()> {
        self.turn(|shape| shape.name = round)?;
        self.effective(&format!("named-{round}"), None).await.with_context(|| format!("rename {round}"))
    }

    async fn effective(&self, host: &str, round: Option<&str>) -> Result<()> {
        let start = Instant::now();
        effective(&call(host, PORT), round).await?;
        self.slowest.set(self.slowest.get().max(start.elapsed()));
        Ok(())
    }

    /// Changes the rule of one host, and waits until that has taken effect.
    async fn rule(&self, round: usize) -> Result<()> {
        let at = round % usize::from(HOSTS);
        self.turn(|shape| {
            if let Some(known) = shape.rounds.get_mut(at) {
                *known = round;
            }
        })?;
        self.effective(&format!("host-{at}"), Some(&round.to_string())).await.with_context(|| format!("change {round}"))
    }

    /// A route configuration comes, and goes if `goes`; otherwise the next one comes in its place.
    async fn further_port(&self, port: u16, goes: bool) -> Result<()> {
        self.turn(|shape| shape.port = Some(port + u16::from(goes)))?;
        effective(&call("host-0", port + u16::from(goes)), None).await?;
        if goes {
            self.turn(|shape| shape.port = None)?;
        }
        Ok(())
    }

    fn turn(&self, change: impl FnOnce(&mut Shape)) -> Result<()> {
        change(&mut self.shape.borrow_mut());
        if let Some(view) = self.mesh.borrow_mut().apply(&self.shape.borrow())? {
            self.view.replace(view.clone());
            self.running.borrow().served.publish(view);
        }
        Ok(())
    }
}

/// Until the call is answered, by the rule of that round.
async fn effective(call: &Call, round: Option<&str>) -> Result<()> {
    let (room, end) = (Room::of_case(), Instant::now() + LIMIT);
    let mut session = Session::new(call, Caller { room: &room, certificate: None, version: None });
    loop {
        let answer = session.call(&Variation::default()).await;
        let right = round.is_none_or(|round| answer.headers.get("x-round").is_some_and(|found| found == round));
        if right && answer.status == Some(200) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "no effect at {} in {LIMIT:?}: {answer:?}", call.authority);
        sleep(PAUSE).await;
    }
}

/// Calls all services in turn, over connections that are kept, until it is over; what failed.
async fn load(client: u8, over: &Cell<bool>, made: &Cell<usize>) -> Vec<String> {
    let room = Room::of_case();
    let hosts = (0..HOSTS).map(|number| format!("host-{}", (number + client * 5) % HOSTS)).chain(["moving".to_owned()]);
    let calls: Vec<Call> = hosts.map(|host| call(&host, PORT)).collect();
    let caller = Caller { room: &room, certificate: None, version: None };
    let mut sessions: Vec<Session<'_>> = calls.iter().map(|call| Session::new(call, caller)).collect();
    let mut lost = Vec::new();
    while !over.get() {
        for (session, call) in sessions.iter_mut().zip(&calls) {
            let answer = session.call(&Variation::default()).await;
            made.set(made.get() + 1);
            if answer.status != Some(200) || !answer.headers.contains_key("x-endpoint") {
                lost.push(format!("{}: {answer:?}", call.authority));
            }
        }
    }
    lost
}
