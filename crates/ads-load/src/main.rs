//! `ads-load`: many simulated proxies against one ADS server, and what that costs the server.
//!
//! In: the address of a server, a folder of YAML that the server follows, the number of streams and changes. Out: a
//! table (or JSON) with time, bytes, CPU seconds and memory per phase.
//! Never: a full decode of what is received: it shares the machine with the server, so it walks only the protobuf
//! fields that say which names a proxy would subscribe to next.
//! Read first: `phases.rs`, then `stream.rs`.

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

use clap::{Parser, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Opens many ADS streams that behave like sidecars, acknowledges everything, and measures the server.
#[derive(Parser, Clone, Debug)]
#[command(version)]
pub struct Flags {
    /// The plaintext ADS address of the server.
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
    /// Services in the folder.
    #[arg(long, default_value_t = 0)]
    services: usize,
    /// Endpoints of each service.
    #[arg(long, default_value_t = 10)]
    endpoints: usize,
    /// Only writes the folder.
    #[arg(long)]
    write_only: bool,
    /// Endpoint changes to measure.
    #[arg(long, default_value_t = 0)]
    changes: usize,
    /// VirtualService changes to measure.
    #[arg(long, default_value_t = 0)]
    virtual_service_changes: usize,
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
