//! Service (`v1`).

use crate::{message::message, scalar::IntOrString};
use std::collections::BTreeMap;

message! {
    /// The `spec` of a Service.
    pub struct Service {
        /// `ClusterIP` (also if empty), `NodePort`, `LoadBalancer` or `ExternalName`.
        #[serde(rename = "type")]
        pub service_type: String,
        /// The first virtual address; `None` for a headless service.
        #[serde(rename = "clusterIP")]
        pub cluster_ip: String,
        /// All virtual addresses, one of each family.
        #[serde(rename = "clusterIPs")]
        pub cluster_ips: Vec<String>,
        /// Addresses that the cluster does not manage.
        #[serde(rename = "externalIPs")]
        pub external_ips: Vec<String>,
        /// The name that an `ExternalName` service stands for.
        pub external_name: String,
        /// The labels of its pods; empty if its endpoints are made by hand.
        pub selector: BTreeMap<String, String>,
        /// Its ports.
        pub ports: Vec<ServicePort>,
        /// Whether pods count as ready from the start.
        pub publish_not_ready_addresses: bool,
        /// `Cluster` (also if empty) or `Local`: only endpoints on the client's node.
        pub internal_traffic_policy: String,
        /// `PreferClose`, `PreferSameZone` or `PreferSameNode`.
        pub traffic_distribution: String,
        /// `IPv4`, `IPv6`.
        pub ip_families: Vec<String>,
        /// `SingleStack`, `PreferDualStack` or `RequireDualStack`.
        pub ip_family_policy: String,
    }

    /// A port of a Service.
    pub struct ServicePort {
        /// Its name; may be empty if it is the only one.
        pub name: String,
        /// `TCP` (also if empty), `UDP` or `SCTP`.
        pub protocol: String,
        /// The protocol inside the connection; precedes the name.
        pub app_protocol: Option<String>,
        /// The number.
        pub port: i32,
        /// The port of the pods; unset means the same number.
        #[schemars(skip)]
        pub target_port: Option<IntOrString>,
        /// The port on every node; 0 for none.
        pub node_port: i32,
    }

    /// The `status` of a Service.
    pub struct ServiceStatus {
        /// The state of the load balancer.
        pub load_balancer: LoadBalancerStatus,
    }

    /// The state of a load balancer.
    pub struct LoadBalancerStatus {
        /// Where it is reached.
        pub ingress: Vec<LoadBalancerIngress>,
    }

    /// An address of a load balancer.
    pub struct LoadBalancerIngress {
        /// As an IP address.
        pub ip: String,
        /// As a name.
        pub hostname: String,
    }
}
