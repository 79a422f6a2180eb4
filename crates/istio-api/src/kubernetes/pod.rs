//! Pod (`v1`): a workload and its addresses.

use crate::message::message;

message! {
    /// The `spec` of a Pod.
    pub struct Pod {
        /// The service account; empty means `default`.
        pub service_account_name: String,
        /// Where it runs.
        pub node_name: String,
        /// The first label of its DNS name in a headless service.
        pub hostname: String,
        /// The headless service of its DNS name.
        pub subdomain: String,
        /// Whether it shares the network of the node.
        pub host_network: bool,
        /// Its containers.
        pub containers: Vec<Container>,
        /// Its init containers; a proxy that runs as native sidecar is one.
        pub init_containers: Vec<Container>,
        /// As whom they run.
        pub security_context: Option<SecurityContext>,
    }

    /// As whom something runs.
    pub struct SecurityContext {
        /// The user.
        pub run_as_user: Option<i64>,
    }

    /// A container.
    pub struct Container {
        /// Its name.
        pub name: String,
        /// The image that it runs.
        pub image: String,
        /// As whom it runs.
        pub security_context: Option<SecurityContext>,
        /// The ports it declares.
        pub ports: Vec<ContainerPort>,
    }

    /// A port of a container.
    pub struct ContainerPort {
        /// Its name, for Services that target it by name.
        pub name: String,
        /// The number.
        pub container_port: i32,
        /// `TCP` (also if empty), `UDP` or `SCTP`.
        pub protocol: String,
    }

    /// The `status` of a Pod.
    pub struct PodStatus {
        /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
        pub phase: String,
        /// The first address.
        #[serde(rename = "podIP")]
        pub pod_ip: String,
        /// All addresses, one of each family.
        #[serde(rename = "podIPs")]
        pub pod_ips: Vec<PodIp>,
        /// `Ready` and others.
        pub conditions: Vec<PodCondition>,
    }

    /// An address of a Pod.
    pub struct PodIp {
        /// The address.
        pub ip: String,
    }

    /// A condition of a Pod.
    pub struct PodCondition {
        /// What it is about.
        #[serde(rename = "type")]
        pub condition_type: String,
        /// `True`, `False` or `Unknown`.
        pub status: String,
    }
}

impl PodStatus {
    /// Whether the Pod has run to its end and never runs again.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}
