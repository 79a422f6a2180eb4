//! The agent's pages: readiness for the kubelet, metrics for Prometheus, draining for whoever ends the pod.

use crate::certificate::Certificate;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, response::IntoResponse};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// How long Envoy or the application may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// The prefix that stock Envoy puts before metrics of Istio's, which are called `istio_…` everywhere else.
const STOCK_PREFIX: &str = "envoy_istio_";

/// What the pages read.
#[derive(Clone)]
pub struct Status {
    /// Port of Envoy's admin pages.
    pub admin_port: u16,
    /// The application's own metrics, as `ISTIO_PROMETHEUS_ANNOTATIONS` says: port and path.
    pub application: Option<(u16, String)>,
    /// The agent's own metrics.
    pub metrics: observability::Metrics,
    /// Whether there is a certificate; without one Envoy could serve nobody under mutual TLS.
    pub certificate: watch::Receiver<Option<Arc<Certificate>>>,
    /// Asks for the end of the process (`/quitquitquit`).
    pub quit: mpsc::Sender<()>,
    client: Client<HttpConnector, Empty<bytes::Bytes>>,
}

impl Status {
    /// The pages of one agent.
    pub fn new(
        admin_port: u16,
        application: Option<(u16, String)>,
        metrics: observability::Metrics,
        certificate: watch::Receiver<Option<Arc<Certificate>>>,
        quit: mpsc::Sender<()>,
    ) -> Self {
        Self { admin_port, application, metrics, certificate, quit, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// The body of a page on this host; `None` if it cannot be had in time.
    async fn fetch(&self, port: u16, path: &str) -> Option<String> {
        let uri = format!("http://127.0.0.1:{port}{path}").parse().ok()?;
        let answer = async {
            let answer = self.client.get(uri).await.ok()?;
            let good = answer.status().is_success();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            good.then(|| String::from_utf8_lossy(&body).into_owned())
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.ok().flatten()
    }

    /// What is missing before traffic may come; `None` if nothing is.
    async fn missing(&self) -> Option<&'static str> {
        if self.certificate.borrow().is_none() {
            return Some("no certificate yet");
        }
        // "usedonly" leaves out what was never updated: a listener manager without a single update has no configuration.
        let filter =
            "^(cluster_manager.cds|listener_manager.lds).update_(success|rejected)$|^server.state$|^listener_manager.workers_started$";
        let Some(stats) = self.fetch(self.admin_port, &format!("/stats?usedonly&filter={}", encode(filter))).await else {
            return Some("Envoy does not answer");
        };
        let value = |name: &str| {
            let find = |line: &str| line.split_once(": ").filter(|(key, _)| *key == name)?.1.trim().parse::<u64>().ok();
            stats.lines().find_map(find)
        };
        let updated =
            |name: &str| value(&format!("{name}.update_success")).or(value(&format!("{name}.update_rejected"))).is_some_and(|n| n > 0);
        match () {
            () if !updated("cluster_manager.cds") => Some("no clusters received yet"),
            () if !updated("listener_manager.lds") => Some("no listeners received yet"),
            () if value("listener_manager.workers_started") != Some(1) => Some("Envoy's workers have not started"),
            // LIVE is 0; a server that drains (1) or initialises must get nothing new.
            () if value("server.state").unwrap_or(0) != 0 => Some("Envoy is not live"),
            () => None,
        }
    }
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Serves the pages until the process ends.
pub async fn serve(listener: TcpListener, status: Status) -> std::io::Result<()> {
    let pages = Router::new()
        .route("/healthz/ready", get(ready))
        .route("/stats/prometheus", get(all_metrics))
        .route("/stats/envoy", get(envoy_metrics))
        .route("/quitquitquit", post(quit))
        .with_state(status);
    axum::serve(listener, pages.into_make_service_with_connect_info::<SocketAddr>()).await
}

async fn ready(State(status): State<Status>) -> impl IntoResponse {
    match status.missing().await {
        None => (StatusCode::OK, String::new()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")),
    }
}

async fn envoy_metrics(State(status): State<Status>) -> impl IntoResponse {
    match status.fetch(status.admin_port, "/stats/prometheus").await {
        Some(text) => (StatusCode::OK, renamed(&text)),
        None => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
    }
}

/// The application's, Envoy's and the agent's metrics on one page, as Istio merges them.
async fn all_metrics(State(status): State<Status>) -> impl IntoResponse {
    let envoy = status.fetch(status.admin_port, "/stats/prometheus").await.unwrap_or_default();
    let mut page = renamed(&envoy);
    page.push_str(&status.metrics.text().unwrap_or_default());
    if let Some((port, path)) = &status.application {
        page.push_str(&status.fetch(*port, path).await.unwrap_or_default());
    }
    page
}

/// Metrics of the mesh under the names that dashboards know.
fn renamed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        match line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_prefix(STOCK_PREFIX)) {
            Some(rest) => {
                out.push_str("# TYPE istio_");
                out.push_str(rest);
            }
            None => match line.strip_prefix(STOCK_PREFIX) {
                Some(rest) => {
                    out.push_str("istio_");
                    out.push_str(rest);
                }
                None => out.push_str(line),
            },
        }
        out.push('\n');
    }
    out
}

async fn quit(axum::extract::ConnectInfo(peer): axum::extract::ConnectInfo<SocketAddr>, State(status): State<Status>) -> impl IntoResponse {
    if !peer.ip().is_loopback() {
        return StatusCode::FORBIDDEN;
    }
    match status.quit.try_send(()) {
        // Full: the end has been asked for already.
        Ok(()) | Err(mpsc::error::TrySendError::Full(())) => StatusCode::OK,
        Err(mpsc::error::TrySendError::Closed(())) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_the_mesh_have_their_own_names() {
        let text = "# TYPE envoy_istio_requests_total counter\nenvoy_istio_requests_total{a=\"envoy_istio_x\"} 1\nenvoy_server_live 1\n";
        assert_eq!(
            renamed(text),
            "# TYPE istio_requests_total counter\nistio_requests_total{a=\"envoy_istio_x\"} 1\nenvoy_server_live 1\n"
        );
    }

    #[test]
    fn filters_pass_through_a_url() {
        assert_eq!(encode("a|b$"), "a%7Cb%24");
    }
}
