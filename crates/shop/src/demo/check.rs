//! The demo for tests: does everything that the screen invites to do, on a copy of the folder, and says whether it came
//! out as promised.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::load;
use super::log_lines::find_message;
use super::mesh::{Mesh, Parts};
use super::outage::Totals;
use super::record::{Record, ServiceVersion, Summary, summarize};
use super::{Options, ended_by_signal, gateway};
use crate::client::Client;

/// The second byte of the loopback addresses of the copy, so that a check and `make run` do not meet.
const OTHER_NETWORK: &str = "127.77.";

/// How long an edit may take from the file to the answers. The promise is a second; the rest is for a busy machine.
const EDIT_TIMEOUT: Duration = Duration::from_secs(5);

struct Check {
    mesh: Mesh,
    config: PathBuf,
    gateway: SocketAddr,
    client: Client,
}

/// Runs all checks and prints a line for each.
///
/// # Errors
/// At the first promise that is not kept.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir().context("a scratch folder")?;
    let config = scratch.path().join("config");
    copy(&options.config, &config)?;
    let parts = Parts { config: config.clone(), scratch: scratch.path().join("run"), ..options.parts()? };
    let start = Instant::now();
    let outcome = tokio::select! {
        outcome = all(&parts) => outcome,
        signal = ended_by_signal() => signal.and_then(|()| bail!("ended by a signal")),
    };
    if outcome.is_err() {
        let kept = scratch.keep();
        println!("what was run is kept in {}", kept.display());
    }
    println!("{} after {:.1} s", if outcome.is_ok() { "all kept" } else { "FAILED" }, start.elapsed().as_secs_f64());
    outcome
}

async fn all(parts: &Parts) -> anyhow::Result<()> {
    let start = Instant::now();
    let mesh = Mesh::start(parts).await?;
    let gateway = gateway(&mesh.pods)?;
    let mut check = Check { mesh, config: parts.config.clone(), gateway, client: Client::new(Duration::from_secs(5)) };
    check.until("the first requests succeed", EDIT_TIMEOUT, |summary| summary.failures == 0).await?;
    println!("  started: {} Envoys route after {:.1} s", check.mesh.proxied().count(), start.elapsed().as_secs_f64());
    check.split().await?;
    check.edited_weights().await?;
    check.broken_file().await?;
    check.fault().await?;
    check.restart().await?;
    let lost = check.mesh.lost();
    ensure!(lost.is_empty(), "these have ended on their own: {lost:?}");
    check.mesh.stop().await;
    Ok(())
}

impl Check {
    async fn split(&mut self) -> anyhow::Result<()> {
        let summary = self.send(300).await;
        ensure!(summary.failures == 0, "{} of 300 requests failed: {:?}", summary.failures, summary.last_failure);
        let share = share(&summary, "catalog", "v1");
        // Five standard deviations of 300 draws with 80 % are 11.5 %.
        ensure!((68.0..92.0).contains(&share), "catalog v1 has {share:.0} % of the answers instead of 80 %");
        println!("  weights: catalog v1 answers {share:.0} % of 300 requests where 80 % are asked for");
        Ok(())
    }

    async fn edited_weights(&mut self) -> anyhow::Result<()> {
        self.edit("routing.yaml", &[("weight: 80", "weight: 0"), ("weight: 20", "weight: 100")])?;
        let only_v2 = |summary: &Summary| summary.failures == 0 && share(summary, "catalog", "v2") > 99.9;
        let after = self.until("all answers of the catalog come from v2", EDIT_TIMEOUT, only_v2).await?;
        println!("  edit: all answers come from catalog v2 {} ms after the file was saved", after.as_millis());
        Ok(())
    }

    async fn broken_file(&mut self) -> anyhow::Result<()> {
        let path = self.config.join("routing.yaml");
        let whole = std::fs::read_to_string(&path)?;
        std::fs::write(&path, whole.replace("hosts: [catalog]", "hosts: [catalog"))?;
        let start = Instant::now();
        let diagnostic = loop {
            let log = std::fs::read_to_string(self.mesh.istiod.log())?;
            if let Some(message) = find_message(&log, "routing.yaml") {
                break message;
            }
            ensure!(start.elapsed() < EDIT_TIMEOUT, "istiod's log does not mention the broken routing.yaml");
            self.send(5).await;
        };
        let summary = self.send(100).await;
        ensure!(summary.failures == 0, "requests fail since routing.yaml is broken: {:?}", summary.last_failure);
        ensure!(share(&summary, "catalog", "v2") > 99.9, "the last good routing.yaml is not obeyed while it is broken");
        std::fs::write(&path, whole)?;
        println!("  broken file: traffic goes on, and istiod says: {diagnostic}");
        Ok(())
    }

    async fn fault(&mut self) -> anyhow::Result<()> {
        // The first percentage of the file is that of the abort.
        let path = self.config.join("faults.yaml");
        let whole = std::fs::read_to_string(&path)?;
        std::fs::write(&path, whole.replacen("value: 0", "value: 100", 1))?;
        let all_fail = |summary: &Summary| summary.failures == summary.requests;
        let after = self.until("every call of payments is aborted", EDIT_TIMEOUT, all_fail).await?;
        let failure = self.send(1).await.last_failure.unwrap_or_default();
        ensure!(failure.contains("payments") && failure.contains("503"), "the failure is another one: {failure}");
        std::fs::write(&path, whole)?;
        self.until("requests succeed without the fault", EDIT_TIMEOUT, |summary| summary.failures == 0).await?;
        println!("  fault: {} ms after it was saved: {failure}", after.as_millis());
        Ok(())
    }

    async fn restart(&mut self) -> anyhow::Result<()> {
        let first = Totals::of(&self.mesh.received().await);
        self.mesh.istiod.kill().await;
        let summary = self.send_for(Duration::from_secs(3)).await;
        ensure!(summary.failures == 0, "without istiod {} requests fail: {:?}", summary.failures, summary.last_failure);
        let before = Totals::of(&self.mesh.received().await);
        ensure!(before.connected == 0, "{} Envoys say that they are connected to a dead istiod", before.connected);
        println!("  istiod killed: {} requests in 3 s, none failed", summary.requests);

        self.mesh.istiod.start()?;
        self.mesh.wait_for_istiod().await?;
        let start = Instant::now();
        while Totals::of(&self.mesh.received().await).connected < before.envoys {
            ensure!(start.elapsed() < Duration::from_secs(15), "not all Envoys have come back to the new istiod");
            self.send(1).await;
        }
        let summary = self.send_for(Duration::from_secs(1)).await;
        ensure!(summary.failures == 0, "requests fail since istiod is back: {:?}", summary.last_failure);
        let after = Totals::of(&self.mesh.received().await);
        let (bytes, changes) = (after.bytes - before.bytes, after.changes - before.changes);
        ensure!(changes == 0, "the new istiod has changed {changes} clusters, listeners or routes although nothing had changed");
        // What comes is HTTP/2 framing and empty answers, some hundred bytes for each Envoy.
        ensure!(bytes < first.bytes / 10, "the new istiod has sent {bytes} bytes; everything before took {}", first.bytes);
        println!("  istiod started again: {bytes} bytes to {} Envoys (all before: {}), no change", after.envoys, first.bytes);

        self.edit("routing.yaml", &[("weight: 0", "weight: 100"), ("weight: 100\n", "weight: 0\n")])?;
        let only_v1 = |summary: &Summary| summary.failures == 0 && share(summary, "catalog", "v1") > 99.9;
        let took = self.until("the new istiod carries an edit", EDIT_TIMEOUT, only_v1).await?;
        let rejected = Totals::of(&self.mesh.received().await).rejected;
        ensure!(rejected == 0, "Envoys have refused {rejected} updates");
        println!("  edit under the new istiod: all answers come from catalog v1 after {} ms", took.as_millis());
        Ok(())
    }

    /// Replaces each text in a file, the first occurrence behind the one before.
    fn edit(&self, file: &str, replacements: &[(&str, &str)]) -> anyhow::Result<()> {
        let path = self.config.join(file);
        let mut rest = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut edited = String::new();
        for (from, to) in replacements {
            let Some((before, after)) = rest.split_once(from) else { bail!("{file} does not contain {from:?}") };
            edited += before;
            edited += to;
            rest = after.to_owned();
        }
        std::fs::write(&path, edited + &rest).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Sends ten requests again and again until `holds` is true of them.
    async fn until(&self, what: &str, timeout: Duration, holds: impl Fn(&Summary) -> bool) -> anyhow::Result<Duration> {
        let start = Instant::now();
        loop {
            let sent = start.elapsed();
            let summary = self.send(10).await;
            if holds(&summary) {
                return Ok(sent);
            }
            if sent > timeout {
                let log = self.mesh.istiod.log().display();
                bail!("not within {timeout:?}: {what}; the last ten requests: {summary:?}; istiod's log: {log}");
            }
        }
    }

    async fn send(&self, count: usize) -> Summary {
        let mut records = Vec::new();
        for _ in 0..count {
            records.push(self.request().await);
        }
        summarize(records.iter())
    }

    async fn send_for(&self, time: Duration) -> Summary {
        let start = Instant::now();
        let mut records = Vec::new();
        while start.elapsed() < time {
            records.push(self.request().await);
        }
        summarize(records.iter())
    }

    async fn request(&self) -> Record {
        load::request(&self.client, self.gateway).await
    }
}

#[allow(clippy::cast_precision_loss, reason = "some hundred requests")]
fn share(summary: &Summary, service: &str, version: &str) -> f64 {
    let who = ServiceVersion { service: service.to_owned(), version: version.to_owned() };
    let all: u64 = summary.versions.iter().filter(|(who, _)| who.service == service).map(|(_, count)| count.answers).sum();
    summary.versions.get(&who).map_or(0.0, |count| count.answers as f64 * 100.0 / all.max(1) as f64)
}

/// Copies a folder of YAML and moves its Pods to the other network.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read the folder {}", from.display()))? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            std::fs::write(&target, text.replace("127.0.", OTHER_NETWORK)).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
