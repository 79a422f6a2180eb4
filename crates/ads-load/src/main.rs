//! `ads-load`: many simulated proxies against one ADS server, and what that costs the server.
//!
//! In: the address of a server, a folder of YAML or an API server that the server follows, the number of streams and changes. Out: a
//! table (or JSON) with time, bytes, CPU seconds and memory per phase.
//! Never: a full decode of what is received: it shares the machine with the server, so it walks only the protobuf
//! fields that say which names a proxy would subscribe to next.
//! Read first: `phases.rs`, then `stream.rs`.

mod cluster;
mod fields;
mod folder;
mod frames;
mod phases;
mod process;
mod report;
mod stream;
mod subscriptions;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use clap::{Parser, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Opens many ADS streams that behave like sidecars, acknowledges everything, and measures the server.
#[derive(Parser, Clone, Debug)]
#[command(version)]
pub struct Flags {
    /// The ADS address of the server: the plaintext one, or with `--ca-dir` the secured one.
    #[arg(long, default_value = "127.0.0.1:15010")]
    ads: String,
    /// Simulated proxies.
    #[arg(long, short = 'n', default_value_t = 200)]
    streams: usize,
    /// How the proxies ask.
    #[arg(long, value_enum, default_value_t = Variant::Delta)]
    protocol: Variant,
    /// Connections that are opened at the same time.
    #[arg(long, default_value_t = 50)]
    parallel: usize,
    /// The namespaces over which services and proxies are spread.
    #[arg(long, default_value_t = 10)]
    namespaces: usize,
    /// `ISTIO_VERSION` of the proxies; empty for plain Envoys.
    #[arg(long, default_value = "1.31.0")]
    istio_version: String,
    /// Writes one file per service here; the server must follow this folder.
    #[arg(long)]
    config_dir: Option<PathBuf>,
    /// Writes the same objects to the API server of this kubeconfig instead; the server must follow it.
    #[arg(long, conflicts_with = "config_dir")]
    kubeconfig: Option<PathBuf>,
    /// Services in the folder or cluster.
    #[arg(long, default_value_t = 0)]
    services: usize,
    /// Endpoints of each service.
    #[arg(long, default_value_t = 10)]
    endpoints: usize,
    /// Only writes the objects.
    #[arg(long)]
    write_only: bool,
    /// The objects are there already.
    #[arg(long, conflicts_with = "write_only")]
    written: bool,
    /// How long all streams are held before anything is changed, in seconds.
    #[arg(long, default_value_t = 0)]
    quiet: u64,
    /// Endpoint changes to measure.
    #[arg(long, default_value_t = 0)]
    changes: usize,
    /// VirtualService changes to measure.
    #[arg(long, default_value_t = 0)]
    virtual_service_changes: usize,
    /// Mutual TLS: the folder that istiod has as --rootCaDir, whose key signs a certificate for each proxy.
    #[arg(long)]
    ca_dir: Option<PathBuf>,
    /// Connections in mutual TLS to open and close, before anything else.
    #[arg(long, default_value_t = 0, requires = "ca_dir")]
    handshakes: usize,
    /// Drops all streams at the end and opens them again with what they hold.
    #[arg(long)]
    reconnect: bool,
    /// A shell command between the two halves of `--reconnect`, usually one that restarts the server.
    #[arg(long, requires = "reconnect")]
    restart_command: Option<String>,
    /// The process of the server, to measure its CPU time and memory.
    #[arg(long, conflicts_with = "pid_file")]
    pid: Option<u32>,
    /// A file with the server's process id, read anew for every phase.
    #[arg(long)]
    pid_file: Option<PathBuf>,
    /// How long nothing must arrive before a phase counts as over.
    #[arg(long, default_value = "300", value_parser = milliseconds)]
    settle: Duration,
    /// How long a phase may take, in seconds.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// The variant of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Variant {
    /// `DeltaAggregatedResources`.
    Delta,
    /// `StreamAggregatedResources`.
    Sotw,
}

fn milliseconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}

// One thread: the machine belongs to the server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let json = flags.json;
    let report = phases::run(flags).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    if report.complete() { Ok(()) } else { anyhow::bail!("not every stream got everything") }
}
