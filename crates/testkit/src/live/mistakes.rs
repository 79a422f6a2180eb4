//! The corpus of mistakes on real Envoys, a sidecar and a gateway, beside good routes that are called all the time.

use super::{
    certificates::Authority,
    client::{self, Caller},
    in_network,
    network::Network,
    room::Room,
    upstream::Upstream,
    workload::{Running, Workload},
};
use crate::{
    case::Proxy,
    mesh::PROXY,
    mistake::{self, Mistake, PORT, ROUTES, address, endpoint},
};
use anyhow::{Context, Result, anyhow, ensure};
use base::DomainSuffix;
use istio_api::AnyObject;
use serde_json::{from_value, json};
use simulation::{Call, Direction, Security};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep};
use xds::{Input, ProxyId, State, parse_node};
use xds_api::{Wire, envoy::config::core::v3::Node};
use xds_wire::View;

/// No change takes longer to reach the Envoys.
const LIMIT: Duration = Duration::from_secs(10);
/// How often something is looked at again.
const PAUSE: Duration = Duration::from_millis(10);

/// Makes the mistakes, `together` at a time, and keeps them all; then ends istiod's part and the Envoys, and starts them
/// again with everything. After each step every change of a good route must take effect, and no call of one may fail.
///
/// # Errors
/// If a call failed, a change did not take effect, or Envoy has refused something; the text names the mistakes of the step.
pub fn check(mistakes: &[Mistake], together: usize, network: &Network) -> Result<()> {
    in_network(network, || run(mistakes, together))
}

async fn run(mistakes: &[Mistake], together: usize) -> Result<()> {
    let certificate = rcgen::generate_simple_self_signed(["*.example.com".to_owned()])?;
    let mut objects = mistake::good_mesh(&certificate.cert.pem(), &certificate.signing_key.serialize_pem())?;
    let upstream = Upstream::new()?;
    for number in 0..ROUTES {
        upstream.listen(SocketAddr::new(endpoint(number), 9000), &Room::of_case())?;
    }
    let proxies = proxies()?;
    let (authority, calls) = (Authority::new()?, calls());
    let mut failures = Vec::new();

    let mut scratch = tempfile::tempdir()?;
    let mut stage = Stage::start(&proxies, &objects, &authority, scratch.path()).await?;
    for (round, step) in mistakes.chunks(together).enumerate() {
        let names: Vec<&str> = step.iter().map(|mistake| mistake.name.as_str()).collect();
        let added: Vec<AnyObject> = step.iter().flat_map(|mistake| mistake.objects.clone()).collect();
        let refused: BTreeSet<&String> = step.iter().flat_map(|mistake| &mistake.file.refused).collect();
        let made = match stage.step(&calls, &added, round + 1).await {
            Ok(()) => stage.names(&refused).await,
            error => error,
        };
        match made {
            Ok(()) => objects.extend(added),
            Err(error) => {
                eprintln!("{names:?}: {error:#}");
                failures.push(format!("{names:?}: {error:#}"));
                // The others are tried without these.
                stage.stop().await;
                scratch = tempfile::tempdir()?;
                stage = Stage::start(&proxies, &objects, &authority, scratch.path()).await?;
            }
        }
    }
    stage.stop().await;

    // Everything is gone, and comes back with the mistakes.
    scratch = tempfile::tempdir()?;
    stage = Stage::start(&proxies, &objects, &authority, scratch.path()).await.context("after the restart")?;
    failures.extend(stage.step(&calls, &[], mistakes.len() + 1).await.err().map(|error| format!("after the restart: {error:#}")));
    stage.stop().await;
    ensure!(failures.is_empty(), "{}", failures.join("\n  "));
    Ok(())
}

/// A sidecar and a gateway, neither with an agent.
fn proxies() -> Result<Vec<Proxy>> {
    let sidecar = json!({"type": "sidecar", "name": "client", "namespace": "shop", "ip": "127.0.10.1", "labels": {"app": "client"}});
    let gateway = json!({"type": "router", "name": "front", "namespace": "edge", "ip": "127.0.20.1", "labels": {"istio": "front"}});
    Ok(vec![from_value(sidecar)?, from_value(gateway)?])
}

/// A call of each good route through the sidecar, and through the gateway in plain text or TLS.
fn calls() -> Vec<(u8, Call)> {
    let gateway = "127.0.20.1".parse().unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    let routes = (0..ROUTES).flat_map(|number| {
        let sidecar = Call { address: address(number), port: PORT, authority: format!("good-{number}:{PORT}"), ..Call::default() };
        let host = format!("good-{number}.example.com");
        let plain = Call { direction: Direction::Direct, address: gateway, port: 8080, authority: host.clone(), ..Call::default() };
        let secure = Call { port: 8443, security: Security::Tls, server_name: host, ..plain.clone() };
        [(number, sidecar), (number, if number % 2 == 0 { plain } else { secure })]
    });
    routes.collect()
}

/// The running mesh.
struct Stage<'a> {
    state: RefCell<State>,
    workloads: RefCell<Vec<Workload<'a>>>,
    running: RefCell<Vec<Running>>,
}

impl<'a> Stage<'a> {
    async fn start(proxies: &'a [Proxy], objects: &[AnyObject], authority: &Authority, scratch: &std::path::Path) -> Result<Self> {
        let mut state = State::new(DomainSuffix::new("cluster.local"));
        let mut inputs: Vec<Input> = mistake::events(objects).collect();
        for (id, proxy) in (PROXY..).zip(proxies) {
            let node = Node::from_bytes(&xds_wire::json::from_json("envoy.config.core.v3.Node", &proxy.node())?)?;
            inputs.push(Input::Connected(id, Box::new(parse_node(&node).map_err(|error| anyhow!("{}", error.0))?)));
        }
        let mut views: BTreeMap<ProxyId, Arc<View>> = state.turn(inputs).views.into_iter().collect();
        let (mut workloads, mut running) = (Vec::new(), Vec::new());
        for (id, proxy) in (PROXY..).zip(proxies) {
            let view = views.remove(&id).context("no view was published for a proxy")?;
            let workload = Workload::new(proxy, view, Room::of_case())?;
            running.push(workload.start(authority, scratch).await?);
            workloads.push(workload);
        }
        Ok(Self { state: state.into(), workloads: workloads.into(), running: running.into() })
    }

    async fn stop(self) {
        for mut running in self.running.into_inner() {
            running.served.stop();
            running.envoy.stop().await;
        }
    }

    /// One turn with these objects.
    fn turn(&self, objects: &[AnyObject]) -> Result<()> {
        let publication = self.state.borrow_mut().turn(mistake::events(objects).collect());
        for (id, view) in publication.views {
            let at = usize::try_from(id - PROXY)?;
            if let (Some(workload), Some(running)) = (self.workloads.borrow_mut().get_mut(at), self.running.borrow().get(at)) {
                workload.update(view, running)?;
            }
        }
        Ok(())
    }

    /// Brings the objects while all good routes are called, and then changes one of these.
    async fn step(&self, calls: &[(u8, Call)], added: &[AnyObject], round: usize) -> Result<()> {
        let (over, next) = (Cell::new(false), Cell::new(0));
        let clients = (0..4).map(|_| load(calls, &next, &over));
        let change = async {
            let changed = self.change(calls, added, round).await;
            over.set(true);
            changed
        };
        let (lost, changed) = futures::future::join(futures::future::join_all(clients), change).await;
        let lost: Vec<String> = lost.into_iter().flatten().collect();
        ensure!(
            !self.has_refused(),
            "refused: {}",
            self.running.borrow().iter().map(|running| running.served.refusals()).collect::<String>()
        );
        changed?;
        ensure!(lost.is_empty(), "{} calls of good routes failed, first {:?}", lost.len(), lost.first());
        Ok(())
    }

    async fn change(&self, calls: &[(u8, Call)], added: &[AnyObject], round: usize) -> Result<()> {
        self.turn(added)?;
        let number = u8::try_from(round % usize::from(ROUTES))?;
        self.turn(&mistake::good_route(number, round)?)?;
        let wanted = round.to_string();
        let end = Instant::now() + LIMIT;
        for (_, call) in calls.iter().filter(|(of, _)| *of == number) {
            loop {
                let answer = client::call(call, Caller { room: &Room::of_case(), certificate: None, version: None }, None).await?;
                if answer.headers.get("x-round") == Some(&wanted) {
                    break;
                }
                ensure!(Instant::now() < end, "the change of good-{number} has no effect at port {}: {answer:?}", call.port);
                ensure!(!self.has_refused(), "refused");
                sleep(PAUSE).await;
            }
        }
        // Every good route once more, whatever the clients have got to.
        for (_, call) in calls {
            if let Some(problem) = problem(call).await {
                anyhow::bail!("{problem}");
            }
        }
        Ok(())
    }

    /// Waits until refusals have named these objects.
    async fn names(&self, wanted: &BTreeSet<&String>) -> Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            let found: BTreeSet<String> = self.running.borrow().iter().flat_map(|running| running.served.refused()).collect();
            let missing: Vec<_> = wanted.iter().filter(|name| !found.contains(**name)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < end, "no refusal names {missing:?}, but {found:?}");
            sleep(PAUSE).await;
        }
    }

    /// Whether something was refused that others are served with. A secret stands alone: only its own server is without.
    fn has_refused(&self) -> bool {
        let alone = |refusal: &str| refusal.trim().is_empty() || refusal.trim().starts_with("sds: ");
        !self.running.borrow().iter().all(|running| running.served.refusals().split("; ").all(alone))
    }
}

/// Calls the good routes in turn until it is over; what failed.
async fn load(calls: &[(u8, Call)], next: &Cell<usize>, over: &Cell<bool>) -> Vec<String> {
    let mut lost = Vec::new();
    while !over.get() {
        let at = next.replace((next.get() + 1) % calls.len().max(1));
        let Some((_, call)) = calls.get(at) else { break };
        lost.extend(problem(call).await);
    }
    lost
}

/// Why the call of a good route has failed, if it has.
async fn problem(call: &Call) -> Option<String> {
    let room = Room::of_case();
    let called = tokio::time::timeout(LIMIT, client::call(call, Caller { room: &room, certificate: None, version: None }, None));
    match called.await.unwrap_or_else(|_| Err(anyhow!("no answer"))) {
        Ok(answer) if answer.status == Some(200) && answer.headers.contains_key("x-endpoint") => None,
        Ok(answer) => Some(format!("{} at port {}: {answer:?}", call.authority, call.port)),
        Err(error) => Some(format!("{} at port {}: {error:#}", call.authority, call.port)),
    }
}
