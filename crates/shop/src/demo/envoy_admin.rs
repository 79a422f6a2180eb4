//! What an Envoy says about itself on its admin page.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hyper::HeaderMap;

use super::bootstrap::XDS_CLUSTER;
use crate::client::Client;

/// What an Envoy has received from istiod so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Whether its stream to istiod is open.
    pub is_connected: bool,
    /// Bytes from istiod, over all connections.
    pub bytes: u64,
    /// Clusters and listeners added, changed or removed, and route configurations reloaded.
    pub changes: u64,
    /// Updates that it refused.
    pub rejected: u64,
}

/// Whether the Envoy has its first configuration and takes traffic.
pub async fn is_ready(client: &Client, admin: SocketAddr) -> bool {
    client.get(admin, "envoy", "/ready", HeaderMap::new()).await.is_ok_and(|reply| reply.status == 200)
}

/// What the Envoy at `admin` has received.
///
/// # Errors
/// If its admin page does not answer.
pub async fn received(client: &Client, admin: SocketAddr) -> anyhow::Result<Received> {
    let reply = client.get(admin, "envoy", "/stats", HeaderMap::new()).await?;
    Ok(read_statistics(&String::from_utf8_lossy(&reply.body)))
}

fn read_statistics(text: &str) -> Received {
    let statistics: BTreeMap<&str, u64> =
        text.lines().filter_map(|line| line.split_once(": ")).filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
    let sum = |belongs: &dyn Fn(&str) -> bool| statistics.iter().filter(|(name, _)| belongs(name)).map(|(_, value)| value).sum();
    let bytes = format!("cluster.{XDS_CLUSTER}.upstream_cx_rx_bytes_total");
    Received {
        is_connected: statistics.get("control_plane.connected_state") == Some(&1),
        bytes: statistics.get(bytes.as_str()).copied().unwrap_or_default(),
        changes: sum(&|name| {
            let is_count = name.ends_with("_added") || name.ends_with("_modified") || name.ends_with("_removed");
            (name.starts_with("cluster_manager.cluster_") || name.starts_with("listener_manager.listener_")) && is_count
                || name.contains(".rds.") && name.ends_with(".config_reload")
        }),
        rejected: sum(&|name| name.ends_with(".update_rejected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_summed() {
        let text = "cluster.xds-grpc.upstream_cx_rx_bytes_total: 4096\ncluster_manager.cluster_added: 3\n\
                    listener_manager.listener_modified: 1\nhttp.outbound.rds.9080.config_reload: 2\n\
                    cluster_manager.cds.update_rejected: 1\ncontrol_plane.connected_state: 1\n\
                    control_plane.identifier: \"istiod\"\ncluster_manager.active_clusters: 9\n";
        assert_eq!(read_statistics(text), Received { is_connected: true, bytes: 4096, changes: 6, rejected: 1 });
    }
}
