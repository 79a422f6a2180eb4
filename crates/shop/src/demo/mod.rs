//! The demo: plays the cluster for the folder `samples/shop`.
//!
//! `mesh` starts everything, `load` sends requests, `record` remembers what came back, `state` makes one picture of it for
//! `screen` and `page`; `live` joins these, and `check` asks the same mesh the questions that a test would.

pub mod bootstrap;
pub mod check;
pub mod envoy_admin;
pub mod istiod;
pub mod keyboard;
pub mod live;
pub mod load;
pub mod log_lines;
pub mod mesh;
pub mod outage;
pub mod page;
pub mod pod;
pub mod process;
pub mod record;
pub mod screen;
pub mod state;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use self::mesh::Parts;
use self::pod::{Pod, Proxy};

/// The port of the Gateway in `gateway.yaml`.
const GATEWAY_PORT: u16 = 8000;

/// The command line of the demo.
#[derive(Clone, Debug, Parser)]
#[command(name = "demo", about = "Runs samples/shop with istiod and stock Envoys on this machine")]
pub struct Options {
    /// The folder of YAML that istiod reads.
    #[arg(long, default_value = "samples/shop")]
    pub config: PathBuf,
    /// The binary of Envoy.
    #[arg(long, default_value = ".cache/envoy/envoy", env = "ENVOY")]
    pub envoy: PathBuf,
    /// The binary of istiod; by default the one beside this binary.
    #[arg(long)]
    pub istiod: Option<PathBuf>,
    /// Where logs and bootstraps go.
    #[arg(long, default_value = ".cache/run")]
    pub scratch: PathBuf,
    /// Requests a second.
    #[arg(long, default_value_t = 20)]
    pub rate: u32,
    /// Checks everything that the demo promises on a copy of the folder, reports, and exits with 0 or 1.
    #[arg(long)]
    pub check: bool,
}

impl Options {
    /// The parts of the mesh for these options.
    ///
    /// # Errors
    /// If a binary is missing; the message says how to get it.
    pub fn parts(&self) -> anyhow::Result<Parts> {
        let own = std::env::current_exe().context("the path of the demo itself")?;
        let beside = |name: &str| own.with_file_name(name);
        let parts = Parts {
            config: self.config.clone(),
            scratch: self.scratch.clone(),
            istiod: self.istiod.clone().unwrap_or_else(|| beside("istiod")),
            shop: beside("shop"),
            envoy: self.envoy.clone(),
        };
        for (binary, hint) in [(&parts.istiod, "make build"), (&parts.shop, "make build"), (&parts.envoy, "make envoy")] {
            if !binary.is_file() {
                anyhow::bail!("{} is missing: run `{hint}` first", binary.display());
            }
        }
        Ok(parts)
    }
}

/// Where the gateway takes requests.
///
/// # Errors
/// If no Pod is a gateway.
pub fn gateway(pods: &[Pod]) -> anyhow::Result<SocketAddr> {
    let address: IpAddr =
        pods.iter().find(|pod| pod.proxy == Proxy::Router).map(|pod| pod.address).context("no Pod of the folder is a gateway")?;
    Ok(SocketAddr::new(address, GATEWAY_PORT))
}

/// Waits for Ctrl-C, SIGTERM or the end of the terminal.
///
/// # Errors
/// If signals cannot be listened to.
pub async fn ended_by_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}
