//! Envoy's admin page, over its Unix socket.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
};
use tokio::net::UnixStream;

/// Where the page is.
#[derive(Clone)]
pub struct Admin {
    /// The socket.
    pub socket: PathBuf,
}

impl Admin {
    /// Whether Envoy has got all its first configuration.
    pub async fn is_ready(&self) -> bool {
        self.get("/ready").await.is_ok()
    }

    /// The number of requests (connections, for TCP) that each cluster's endpoints have got.
    ///
    /// # Errors
    /// If the page does not answer.
    pub async fn requests(&self) -> Result<BTreeMap<String, u64>> {
        let mut requests = BTreeMap::new();
        for (name, cluster) in self.clusters().await? {
            let hosts = cluster.get("host_statuses").and_then(Value::as_array).into_iter().flatten();
            let stats = hosts.flat_map(|host| host.get("stats").and_then(Value::as_array).into_iter().flatten());
            let totals = stats.filter(|stat| stat.get("name").is_some_and(|name| name == "rq_total"));
            let total: u64 = totals.filter_map(|stat| stat.get("value")?.as_str()?.parse::<u64>().ok()).sum();
            *requests.entry(name).or_insert(0) += total;
        }
        requests.retain(|cluster, _| !["xds-grpc", envoy::tls::SDS_CLUSTER].contains(&cluster.as_str()));
        Ok(requests)
    }

    /// The addresses of the endpoints of each cluster.
    ///
    /// # Errors
    /// If the page does not answer.
    pub async fn endpoints(&self) -> Result<BTreeMap<String, BTreeSet<SocketAddr>>> {
        let address = |host: &Value| {
            let socket = host.pointer("/address/socket_address")?;
            let port = u16::try_from(socket.get("port_value")?.as_u64()?).ok()?;
            Some(SocketAddr::new(socket.get("address")?.as_str()?.parse().ok()?, port))
        };
        let of_cluster = |cluster: &Value| {
            let hosts = cluster.get("host_statuses").and_then(Value::as_array).into_iter().flatten();
            hosts.filter_map(address).collect()
        };
        Ok(self.clusters().await?.into_iter().map(|(name, cluster)| (name, of_cluster(&cluster))).collect())
    }

    /// All counters and gauges.
    ///
    /// # Errors
    /// If the page does not answer.
    pub async fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let page = self.get("/stats").await?;
        let lines = String::from_utf8_lossy(&page);
        // A name may hold colons; a histogram is no number.
        let lines = lines.lines().filter_map(|line| line.rsplit_once(": "));
        Ok(lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    async fn clusters(&self) -> Result<Vec<(String, Value)>> {
        let page: Value = serde_json::from_slice(&self.get("/clusters?format=json").await?)?;
        let clusters = page.get("cluster_statuses").and_then(Value::as_array).context("no cluster_statuses")?;
        let name = |cluster: &Value| cluster.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(clusters.iter().map(|cluster| (name(cluster), cluster.clone())).collect())
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get(path).header("host", "admin").body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        ensure!(response.status() == StatusCode::OK, "{path} answers {}", response.status());
        Ok(response.into_body().collect().await?.to_bytes())
    }
}
