//! The calls of a case through a real Envoy, which gets its configuration over real ADS.
//!
//! Each case has a thread of its own, and that thread, where the system allows it, a network of its own (`network.rs`): there
//! every address is local, so endpoints, gateways and virtual addresses are those of the case, and the traffic of sidecars is
//! redirected as in a pod. Where a case has several workloads, each has a network of its own beside (`room.rs`). `discovery.rs`
//! serves the view, `sds.rs` certificates, `proxy.rs` runs Envoy (`workload.rs` joins the three), `upstream.rs` plays all
//! endpoints, `client.rs` makes the calls and `check.rs` judges what came of them.

mod admin;
mod authorizer;
pub mod certificates;
mod check;
mod client;
pub mod decisions;
mod discovery;
mod dns;
mod http3;
mod load;
pub mod mistakes;
mod network;
pub mod outage;
mod proxy;
mod room;
pub mod sds;
mod session;
mod tls;
pub mod token_keys;
mod upstream;
pub mod vhds;
mod workload;

pub use network::{Network, in_own_network, inside_user_namespace};

use crate::{
    call::{CallFile, Names},
    case::Case,
    mesh,
    report::Verdict,
};
use anyhow::{Context, Result, bail, ensure};
use certificates::{Authority, Certificate};
use room::Room;
use simulation::Direction;
use std::{cell::RefCell, collections::BTreeSet, net::SocketAddr, sync::Arc};
use workload::{Running, Workload};
use xds_wire::View;

/// Makes all calls of the case.
///
/// # Errors
/// If one of them does not end as expected, or Envoy refuses its configuration or does not start.
pub fn check(case: &Case, network: &Network) -> Result<Verdict> {
    if case.calls.is_empty() && case.load.is_empty() {
        return Ok(Verdict::Nothing);
    }
    if let (Some(why), None) = (&case.file.soak, std::env::var_os("SOAK")) {
        return Ok(Verdict::Skipped(format!("only `make soak` has the time: {why}")));
    }
    if let (Network::Shared(why), false) = (network, case.file.proxy.is_addressed())
        && let Some(other) = case.without_redirection()?
    {
        let how = format!("go over a Sidecar, where they should be redirected: {why}");
        return check(&other, network).map(|_| Verdict::Adapted(how));
    }
    if let Some(why) = unfit(case, network)? {
        return Ok(Verdict::Skipped(why));
    }
    in_network(network, || run(case, network)).map(|()| Verdict::Checked)
}

/// Runs something in a thread of its own, in a fresh network.
fn in_network<T: Send, F: Future<Output = Result<T>>>(network: &Network, make: impl FnOnce() -> F + Send) -> Result<T> {
    let in_thread = || {
        network.enter()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(make())
    };
    // A thread that has entered a network stays there until it ends.
    match std::thread::scope(|scope| scope.spawn(in_thread).join()) {
        Ok(result) => result,
        Err(_) => bail!("the thread of the case ended early"),
    }
}

/// Why the case cannot be tried here.
fn unfit(case: &Case, network: &Network) -> Result<Option<String>> {
    let Network::Shared(why) = network else { return Ok(None) };
    if !case.file.proxy.is_addressed() {
        return Ok(Some(format!("it redirects traffic, but {why}")));
    }
    if !case.file.workloads.is_empty() {
        return Ok(Some(format!("its workloads need networks of their own, but {why}")));
    }
    if !case.file.dns.is_empty() {
        return Ok(Some(format!("it has a DNS server, but {why}")));
    }
    for call in &case.calls {
        if call.target()?.port < 1024 {
            return Ok(Some(format!("its port needs a network of its own, but {why}")));
        }
    }
    Ok(None)
}

async fn run(case: &Case, network: &Network) -> Result<()> {
    let (state, views) = mesh::views(case)?;
    let workloads = workloads(case, views, network)?;
    let events = mesh::events(case)?;
    let names = Names::of(mesh::objects(&events));
    let calls = case.calls.iter().map(|file| Ok((file, file.call(case, &names)?))).collect::<Result<Vec<_>>>()?;

    let upstream = upstream::Upstream::new()?;
    let mut called = BTreeSet::new();
    if network.is_own() {
        let redirected = calls.iter().filter(|(_, call)| call.direction != Direction::Direct);
        called.extend(redirected.map(|(_, call)| SocketAddr::new(call.address, call.port)));
        dns::serve(&case.file.dns).await?;
    }
    listen(case, &workloads, &called, &upstream)?;
    let (scratch, authority) = (tempfile::tempdir()?, Authority::new()?);
    let mut running = Vec::new();
    for workload in &workloads {
        running.push(workload.start(&authority, scratch.path()).await?);
    }

    let mut failures = Vec::new();
    for (file, call) in &calls {
        let certificate = certificate(case, file, &authority)?;
        let from = case.caller(file)?;
        let at = workloads.iter().position(|workload| std::ptr::eq(workload.proxy, from)).context("the caller has no Envoy")?;
        let dns = &case.file.dns;
        let judge = check::Judge { file, call, certificate, workloads: &workloads, running: &running, at, upstream: &upstream, dns };
        if let Err(error) = judge.call().await {
            failures.push(format!("{} {:?}: {error:#}", file.to, file.headers));
        }
    }
    let (state, workloads, running) = (RefCell::new(state), RefCell::new(workloads), RefCell::new(running));
    let stage = load::Stage { case, state, workloads, running, upstream, names, authority: &authority };
    failures.extend(stage.run(&case.load).await.err().map(|error| format!("{error:#}")));
    end(case, stage.running.into_inner(), failures).await
}

/// Stops the Envoys, and says what failed.
async fn end(case: &Case, running: Vec<Running>, failures: Vec<String>) -> Result<()> {
    let (mut refusals, mut complaints) = (String::new(), String::new());
    for mut running in running {
        running.envoy.stop().await;
        refusals.push_str(&running.served.refusals());
        complaints.push_str(&running.envoy.complaints());
    }
    match &case.file.refuses {
        None => ensure!(refusals.is_empty(), "Envoy refused its configuration: {refusals}"),
        Some(refused) => ensure!(refusals.contains(refused), "Envoy should refuse {refused:?}, and refused: {refusals}"),
    }
    ensure!(failures.is_empty(), "{}\n  Envoy says: {complaints}", failures.join("\n  "));
    Ok(())
}

/// The proxy of the case, in the network of the case if it is alone, and all others, each in one of its own.
fn workloads<'a>(case: &'a Case, views: Vec<Arc<View>>, network: &Network) -> Result<Vec<Workload<'a>>> {
    let alone = case.file.workloads.is_empty();
    let workloads = case.proxies().zip(views).enumerate().map(|(number, (proxy, view))| {
        let room = if alone { Room::of_case() } else { Room::of_workload(network, number, proxy)? };
        Workload::new(proxy, view, room)
    });
    workloads.collect()
}

/// Becomes all endpoints, and whatever else is `called`.
fn listen(case: &Case, workloads: &[Workload<'_>], called: &BTreeSet<SocketAddr>, upstream: &upstream::Upstream) -> Result<()> {
    let endpoints = workloads.iter().flat_map(|workload| upstream::addresses(&workload.resources, &case.file.dns));
    let addresses: BTreeSet<SocketAddr> = endpoints.chain(called.iter().copied()).collect();
    for address in addresses {
        let workload = workloads.iter().find(|workload| workload.proxy.ip == address.ip());
        // The proxy may be an endpoint itself, of the Service in front of a gateway.
        if workload.is_some_and(|workload| workload.proxy.is_addressed()) {
            continue;
        }
        upstream.listen(address, workload.map_or(&Room::of_case(), |workload| &workload.room))?;
    }
    Ok(())
}

/// The client's own certificate.
fn certificate(case: &Case, file: &CallFile, authority: &Authority) -> Result<Option<Certificate>> {
    if let Some(identity) = &file.identity {
        return authority.issue(identity).map(Some);
    }
    let Some(name) = &file.client_certificate else { return Ok(None) };
    let read = |ending: &str| {
        let path = case.folder.join(name).with_extension(ending);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    Ok(Some(Certificate { chain: read("crt")?, key: read("key")? }))
}
