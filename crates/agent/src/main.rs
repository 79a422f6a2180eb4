//! `pilot-agent`: starts the parts of the agent and ends them in order.

use agent::{AgentMetrics, Envoy, NodeKind, Renewal, Roots, Secrets, Settings, Status, Upstream};
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// The agent of a proxy.
#[derive(Parser)]
#[command(name = "pilot-agent", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs Envoy, with certificates and configuration from istiod.
    Proxy(Proxy),
    /// Prints the version.
    Version,
}

#[derive(Args)]
struct Proxy {
    /// What Envoy is here
    #[arg(value_enum, default_value = "sidecar")]
    kind: NodeKind,
    /// DNS suffix of the node
    #[arg(long, default_value = "")]
    domain: String,
    /// Level of Envoy's log
    #[arg(long = "proxyLogLevel", default_value = "warning")]
    proxy_log_level: String,
    /// Level of Envoy's log by component
    #[arg(long = "proxyComponentLogLevel", default_value = "misc:error")]
    proxy_component_log_level: String,
    /// Level of the agent's own log
    #[arg(long = "log_output_level", default_value = "default:info")]
    log_output_level: String,
    /// Log lines as JSON
    #[arg(long = "log_as_json")]
    log_as_json: bool,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Proxy(proxy) => {
            observability::init_logging(&proxy.log_output_level, proxy.log_as_json)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(proxy))
        }
        Command::Version => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

async fn run(proxy: Proxy) -> anyhow::Result<()> {
    let surroundings = agent::Surroundings {
        environment: std::env::vars().collect(),
        labels: std::fs::read_to_string("/etc/istio/pod/labels").unwrap_or_default(),
        annotations: std::fs::read_to_string("/etc/istio/pod/annotations").unwrap_or_default(),
        address: own_address(),
    };
    let mut settings = Settings::new(proxy.kind, &proxy.domain, &surroundings)?;
    settings.log_level = proxy.proxy_log_level;
    settings.component_log_level = proxy.proxy_component_log_level;

    let metrics = observability::Metrics::new();
    let counters = AgentMetrics::new(metrics.registry())?;
    let roots = (!settings.plaintext).then(|| settings.roots.clone());
    let trusted = Roots::default();
    let upstream = |address: &str| Upstream {
        address: address.to_owned(),
        roots: roots.clone(),
        trusted: trusted.clone(),
        token: settings.token.clone(),
        cluster: settings.cluster_id.clone(),
        node: agent::node_id(&settings),
    };
    let (certificate_out, certificate) = watch::channel(None);
    let renewal = Renewal {
        identity: settings.identity.clone(),
        algorithm: settings.algorithm,
        lifetime: settings.lifetime,
        grace: settings.grace,
        jitter: settings.jitter,
    };
    tokio::spawn(agent::follow_mounted(settings.roots.clone(), trusted.clone()));
    tokio::spawn(agent::rotate(renewal, upstream(&settings.ca_address), counters.clone(), fastrand::f64, certificate_out));

    let sds = listen(&settings.sds_socket)?;
    tokio::spawn(agent::serve_sds(sds, Secrets { certificate: certificate.clone(), roots: trusted.clone() }));
    let xds = listen(&settings.xds_socket)?;
    tokio::spawn(agent::serve_xds(xds, upstream(&settings.discovery_address), counters));
    let (quit, mut quit_asked) = mpsc::channel(1);
    let pages = TcpListener::bind(("0.0.0.0", settings.status_port)).await.context("the agent's own pages")?;
    let status = Status::new(settings.admin_port, settings.application_metrics.clone(), metrics, certificate, quit);
    tokio::spawn(agent::serve_status(pages, status));

    let mut envoy = Envoy::start(&settings).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        status = envoy.ended() => {
            let status = status?;
            anyhow::ensure!(status.success(), "Envoy has ended: {status}");
            return Ok(());
        }
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = quit_asked.recv() => {}
    }
    tracing::info!("draining for {:?}", settings.termination_drain);
    envoy.drain(settings.termination_drain, settings.exit_on_zero_connections).await;
    Ok(())
}

/// A socket that only this user can open; what an earlier process has left at its place is removed.
fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(|| format!("{}", path.display())),
        _ => {}
    }
    UnixListener::bind(path).with_context(|| format!("{}", path.display()))
}

/// The address that this host would send from; nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_unspecified())
}
