//! The calls of a case through a real Envoy, which gets its configuration over real ADS.
//!
//! Each case has a thread of its own, and that thread, where the system allows it, a network of its own (`network.rs`): there
//! every address is local, so endpoints, gateways and virtual addresses are those of the case, and the traffic of sidecars is
//! redirected as in a pod. `discovery.rs` serves the view, `proxy.rs` runs Envoy, `upstream.rs` plays all endpoints,
//! `client.rs` makes the calls and `check.rs` judges what came of them.

mod admin;
pub mod certificates;
mod check;
mod client;
mod discovery;
mod dns;
mod network;
mod proxy;
pub mod sds;
mod tls;
mod upstream;

pub use network::{Network, inside_user_namespace};

use crate::{call::Names, case::Case, mesh, report::Verdict};
use anyhow::{Context, Result, anyhow, bail, ensure};
use simulation::{Direction, Resources};
use std::net::SocketAddr;

/// Makes all calls of the case.
///
/// # Errors
/// If one of them does not end as expected, or Envoy refuses its configuration or does not start.
pub fn check(case: &Case, network: &Network) -> Result<Verdict> {
    if case.calls.is_empty() {
        return Ok(Verdict::Nothing);
    }
    let redirected = !case.file.proxy.is_addressed() && !case.file.proxy.has_agent();
    if let (Network::Shared(why), true) = (network, redirected)
        && let Some(other) = case.without_redirection()?
    {
        let how = format!("go over a Sidecar, where they should be redirected: {why}");
        return check(&other, network).map(|_| Verdict::Adapted(how));
    }
    if let Some(why) = unfit(case, network)? {
        return Ok(Verdict::Skipped(why));
    }
    let in_thread = || {
        network.enter()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(case, network))
    };
    // A thread that has entered a network stays there until it ends.
    let ended = std::thread::scope(|scope| scope.spawn(in_thread).join());
    match ended {
        Ok(result) => result.map(|()| Verdict::Checked),
        Err(_) => bail!("the thread of the case ended early"),
    }
}

/// Why the case cannot be tried here.
fn unfit(case: &Case, network: &Network) -> Result<Option<String>> {
    if case.file.proxy.has_agent() {
        return Ok(Some("its proxy needs an agent for certificates".to_owned()));
    }
    let Network::Shared(why) = network else { return Ok(None) };
    if !case.file.proxy.is_addressed() {
        return Ok(Some(format!("it redirects traffic, but {why}")));
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
    let (_state, view) = mesh::build(case)?;
    let resources = Resources::from_view(&view).map_err(|error| anyhow!("{}: {}", error.name, error.message))?;
    let events = mesh::events(case)?;
    let names = Names::of(mesh::objects(&events));
    let calls = case.calls.iter().map(|file| Ok((file, file.call(case, &names)?))).collect::<Result<Vec<_>>>()?;

    let upstream = upstream::Upstream::new()?;
    // The proxy may be an endpoint itself, of the Service in front of a gateway.
    let of_others = |address: &SocketAddr| !case.file.proxy.is_addressed() || address.ip() != case.file.proxy.ip;
    for address in upstream::addresses(&resources, &case.file.dns).into_iter().filter(of_others) {
        upstream.listen(address).await?;
    }
    if network.is_own() {
        for (_, call) in calls.iter().filter(|(_, call)| call.direction != Direction::Direct) {
            upstream.listen((call.address, call.port).into()).await?;
        }
        dns::serve(&case.file.dns).await?;
    }
    let scratch = tempfile::tempdir()?;
    let discovery = discovery::serve(view, &scratch.path().join("ads.sock"))?;
    let envoy = proxy::Envoy::start(case, scratch.path(), &discovery.socket).await;
    let mut envoy = envoy.with_context(|| discovery.refusals())?;

    let mut failures = Vec::new();
    for (file, call) in &calls {
        let certificate = file.client_certificate.as_ref().map(|name| case.folder.join(name));
        let judge =
            check::Judge { file, call, certificate, resources: &resources, upstream: &upstream, dns: &case.file.dns, envoy: &envoy };
        if let Err(error) = judge.call().await {
            failures.push(format!("{} {:?}: {error:#}", file.to, file.headers));
        }
    }
    envoy.stop().await;
    let refusals = discovery.refusals();
    ensure!(refusals.is_empty(), "Envoy refused its configuration: {refusals}");
    ensure!(failures.is_empty(), "{}\n  Envoy says: {}", failures.join("\n  "), envoy.complaints());
    Ok(())
}
