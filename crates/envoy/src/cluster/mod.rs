//! Clusters: what a proxy connects to and how.
//!
//! In: one service port (or subset of it) with its effective policy and what is known about the proxy. Out: the cluster
//! as Istio makes it, and diagnostics for what of the policy could not be kept. Never: which services a proxy sees, or
//! which DestinationRule holds. Istio's `istio.metadata_exchange` filter is left out: only its own Envoy build knows it.
//! Read first: `inputs.rs`, then `outbound.rs`, which calls one file per concern.

mod connection_pool;
mod dns_cache;
mod draft;
mod fixed;
mod inbound;
mod inputs;
mod load_balancer;
mod metadata;
mod outbound;
mod outlier_detection;
mod policy;
mod transport_socket;

pub use dns_cache::DnsCache;
pub use fixed::{
    BLACK_HOLE_CLUSTER, CONNECT_ORIGINATE_CLUSTER, DYNAMIC_DNS_CLUSTER, INBOUND_PASSTHROUGH_CLUSTER, PASSTHROUGH_CLUSTER,
    blackhole_cluster, connect_originate_cluster, dynamic_dns_cluster, inbound_passthrough_cluster, passthrough_cluster,
};
pub use inbound::{InboundClusterInputs, InboundEndpoint, inbound_cluster};
pub use inputs::{
    AutoMtls, Certificates, ClusterMeshDefaults, ClusterMetadata, ClusterProxy, Discovery, IpFamilies, OutboundClusterInputs, ProxyKind,
    ServiceMetadata,
};
pub use metadata::destination_rule_path;
pub use outbound::outbound_cluster;
pub use policy::{ClusterPolicy, merge_policy};
pub use transport_socket::secret_names;

#[cfg(test)]
mod tests;
