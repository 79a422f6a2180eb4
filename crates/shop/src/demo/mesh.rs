//! Everything that runs: istiod, the programs of the Pods and their Envoys. Dropping it ends all of it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::bootstrap::bootstrap;
use super::envoy_admin::{self, Received};
use super::istiod::{Addresses, Istiod};
use super::pod::{Pod, Proxy, read_pods};
use super::process::Process;
use crate::client::Client;

/// How long istiod and the Envoys may take until they serve.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What the mesh is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The folder of YAML that istiod reads, with the Pods.
    pub config: PathBuf,
    /// Where logs and bootstraps go; its former content is replaced.
    pub scratch: PathBuf,
    /// The binary of istiod.
    pub istiod: PathBuf,
    /// The binary of the services.
    pub shop: PathBuf,
    /// The binary of Envoy.
    pub envoy: PathBuf,
}

/// The running mesh.
pub struct Mesh {
    /// The control plane, the only part that is meant to be killed and started again.
    pub istiod: Istiod,
    /// The Pods.
    pub pods: Vec<Pod>,
    processes: Vec<Process>,
    client: Client,
}

impl Mesh {
    /// Starts istiod, then all programs and Envoys, and waits until every Envoy takes traffic.
    ///
    /// # Errors
    /// If an address of a Pod is taken, a process does not start, or not everything is ready in time; with the end of the
    /// log that tells why.
    pub async fn start(parts: &Parts) -> anyhow::Result<Self> {
        let pods = read_pods(&parts.config)?;
        refuse_taken_addresses(&pods)?;
        prepare(&parts.scratch)?;
        let istiod = Istiod::new(parts.istiod.clone(), parts.config.clone(), parts.scratch.join("istiod.log"), Addresses::choose()?);
        let mut mesh = Self { istiod, pods, processes: Vec::new(), client: Client::new(Duration::from_secs(2)) };
        mesh.istiod.start()?;
        mesh.wait_for_istiod().await?;
        for pod in &mesh.pods {
            if let Some(arguments) = &pod.arguments {
                let log = parts.scratch.join(format!("{}.log", pod.name));
                mesh.processes.push(Process::start(&pod.name, &parts.shop, arguments, &log)?);
            }
            if pod.proxy != Proxy::None {
                mesh.processes.push(start_envoy(pod, &mesh.istiod, parts)?);
            }
        }
        mesh.wait_for_envoys().await?;
        Ok(mesh)
    }

    /// The Pods that have an Envoy.
    pub fn proxied(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(|pod| pod.proxy != Proxy::None)
    }

    /// What each Envoy has received from istiod so far, by the name of its Pod. An Envoy that does not answer is left out.
    pub async fn received(&self) -> Vec<(String, Received)> {
        let mut all = Vec::new();
        for pod in self.proxied() {
            if let Ok(received) = envoy_admin::received(&self.client, pod.admin()).await {
                all.push((pod.name.clone(), received));
            }
        }
        all
    }

    /// Waits until istiod is ready.
    ///
    /// # Errors
    /// If it ends or is not ready in time.
    pub async fn wait_for_istiod(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while !self.istiod.is_ready(&self.client).await {
            let has_ended = !self.istiod.is_running();
            if has_ended || start.elapsed() > START_TIMEOUT {
                let what = if has_ended { "istiod has ended" } else { "istiod is not ready" };
                bail!("{what}; its log ends with\n{}", tail(self.istiod.log(), 15));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Ends everything and waits until it is gone.
    pub async fn stop(&mut self) {
        for process in &mut self.processes {
            process.kill().await;
        }
        self.istiod.kill().await;
    }

    /// The processes that have ended although nobody asked them to: name and log.
    pub fn lost(&mut self) -> Vec<(String, PathBuf)> {
        self.processes
            .iter_mut()
            .filter_map(|process| (!process.is_running()).then(|| (process.name().to_owned(), process.log().to_owned())))
            .collect()
    }

    async fn wait_for_envoys(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        let envoys: Vec<_> = self.proxied().map(|pod| (pod.name.clone(), pod.admin())).collect();
        for (name, admin) in envoys {
            while !envoy_admin::is_ready(&self.client, admin).await {
                if let Some((lost, log)) = self.lost().first() {
                    bail!("{lost} has ended; its log ends with\n{}", tail(log, 15));
                }
                if start.elapsed() > START_TIMEOUT {
                    bail!(
                        "the Envoy of {name} has no configuration yet (see http://{admin}/); the log of istiod ends with\n{}",
                        tail(self.istiod.log(), 15)
                    );
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

fn start_envoy(pod: &Pod, istiod: &Istiod, parts: &Parts) -> anyhow::Result<Process> {
    let name = format!("{} (Envoy)", pod.name);
    let path = parts.scratch.join(format!("{}.bootstrap.json", pod.name));
    let text = serde_json::to_string_pretty(&bootstrap(pod, istiod.addresses.grpc))?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let path = path.to_string_lossy();
    let arguments = ["--config-path", &path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"];
    Process::start(&name, &parts.envoy, &arguments, &parts.scratch.join(format!("{}.envoy.log", pod.name)))
}

fn refuse_taken_addresses(pods: &[Pod]) -> anyhow::Result<()> {
    for pod in pods.iter().filter(|pod| pod.proxy != Proxy::None) {
        let admin = pod.admin();
        TcpListener::bind(admin)
            .with_context(|| format!("the address {admin} of the Pod {} cannot be listened on; does `make run` run already?", pod.name))?;
    }
    Ok(())
}

fn prepare(scratch: &Path) -> anyhow::Result<()> {
    if scratch.exists() {
        std::fs::remove_dir_all(scratch).with_context(|| format!("cannot empty {}", scratch.display()))?;
    }
    std::fs::create_dir_all(scratch).with_context(|| format!("cannot create {}", scratch.display()))
}

fn tail(path: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}
