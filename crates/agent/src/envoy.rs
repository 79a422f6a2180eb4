//! The Envoy process: started with our bootstrap, drained before its pod ends.

use crate::settings::{NodeKind, Settings};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How often open connections are counted while draining.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Why Envoy cannot run. Nothing but another environment helps.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    /// The bootstrap cannot be written.
    #[error("the bootstrap {path}: {source}")]
    Bootstrap {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The program cannot be started.
    #[error("{path}: {source}")]
    Start {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running Envoy.
pub struct Envoy {
    child: Child,
    admin_port: u16,
    inbound_only: bool,
    client: Client<HttpConnector, Empty<bytes::Bytes>>,
}

impl Envoy {
    /// Writes the bootstrap and starts Envoy with Istio's flags.
    pub async fn start(settings: &Settings) -> Result<Self, EnvoyError> {
        let path = &settings.bootstrap;
        let text = format!("{:#}", crate::bootstrap(settings));
        tokio::fs::write(path, text).await.map_err(|source| EnvoyError::Bootstrap { path: path.clone(), source })?;
        let version = if settings.addresses.first().is_some_and(std::net::IpAddr::is_ipv6) { "v6" } else { "v4" };
        let mut command = Command::new(&settings.envoy);
        command
            .arg("-c")
            .arg(path)
            .args(["--drain-time-s", &settings.drain.as_secs().to_string(), "--drain-strategy", "immediate"])
            .args(["--local-address-ip-version", version, "--file-flush-interval-msec", "1000"])
            .args(["--disable-hot-restart", "--allow-unknown-static-fields", "-l", &settings.log_level])
            .args(["--component-log-level", &settings.component_log_level])
            .kill_on_drop(true);
        if let Some(concurrency) = settings.proxy.concurrency.filter(|count| *count > 0) {
            command.args(["--concurrency", &concurrency.to_string()]);
        }
        let child = command.spawn().map_err(|source| EnvoyError::Start { path: settings.envoy.clone(), source })?;
        Ok(Self {
            child,
            admin_port: settings.admin_port,
            inbound_only: settings.kind == NodeKind::Sidecar,
            client: Client::builder(TokioExecutor::new()).build_http(),
        })
    }

    /// Resolves when Envoy ends by itself.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Lets Envoy go: nothing new on its inbound listeners, a while for what is open, then the end. With `until_idle`, the end
    /// comes as soon as no connection is open (Istio's `EXIT_ON_ZERO_ACTIVE_CONNECTIONS`), `patience` being the least wait.
    pub async fn drain(&mut self, patience: Duration, until_idle: bool) {
        let scope = if self.inbound_only { "inboundonly&" } else { "" };
        if self.post(&format!("/drain_listeners?{scope}skip_exit&graceful")).await.is_none() {
            tracing::warn!("Envoy did not answer when asked to drain");
        }
        tokio::select! {
            () = tokio::time::sleep(patience) => {}
            _ = self.child.wait() => return,
        }
        if until_idle {
            while let Some(count) = self.open_connections().await.filter(|count| *count > 0) {
                tracing::info!("{count} connections are open; waiting for them");
                tokio::time::sleep(COUNT_INTERVAL).await;
            }
        }
        if let Err(error) = self.child.kill().await {
            tracing::warn!("Envoy could not be ended: {error}");
        }
    }

    async fn post(&self, path: &str) -> Option<String> {
        self.call(http::Method::POST, path).await
    }

    /// Connections of clients, those of the agent's own listeners left out.
    async fn open_connections(&self) -> Option<u64> {
        let text = self.call(http::Method::GET, "/stats?usedonly&filter=downstream_cx_active$").await?;
        let own =
            ["http.admin.", "http.agent.", "http.prometheus.", "listener.admin.", "listener.0.0.0.0_15021.", "listener.0.0.0.0_15090."];
        let counts = text.lines().filter(|line| line.starts_with("listener.") && !line.contains("worker_"));
        let counts = counts.filter(|line| !own.iter().any(|prefix| line.starts_with(prefix)));
        Some(counts.filter_map(|line| line.rsplit_once(": ")?.1.trim().parse::<u64>().ok()).sum())
    }

    async fn call(&self, method: http::Method, path: &str) -> Option<String> {
        let request = http::Request::builder().method(method).uri(format!("http://127.0.0.1:{}{path}", self.admin_port));
        let request = request.body(Empty::new()).ok()?;
        let answer = async {
            let body = self.client.request(request).await.ok()?.into_body().collect().await.ok()?.to_bytes();
            Some(String::from_utf8_lossy(&body).into_owned())
        };
        tokio::time::timeout(Duration::from_secs(3), answer).await.ok().flatten()
    }
}
