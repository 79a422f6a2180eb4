//! How policies say which workloads or resources they are about (`type/v1beta1/selector.proto`).

use crate::message::{enumeration, message};
use std::collections::BTreeMap;

message! {
    /// Selects workloads of a namespace by labels; no labels select all.
    pub struct WorkloadSelector {
        /// All of these labels are required.
        pub match_labels: BTreeMap<String, String>,
    }

    /// A port by number.
    pub struct PortSelector {
        /// 1 to 65535.
        pub number: u32,
    }

    /// The resource that a policy attaches to: a Gateway, GatewayClass, Service or ServiceEntry.
    pub struct PolicyTargetReference {
        /// The API group; empty for core Kubernetes kinds.
        pub group: String,
        /// The kind.
        pub kind: String,
        /// The name.
        pub name: String,
        /// Must be empty: a policy targets its own namespace.
        pub namespace: String,
    }
}

enumeration! {
    /// The direction of traffic that a rule is about (of `type/v1beta1`; Telemetry has its own).
    pub enum WorkloadMode {
        /// Not said: both directions.
        Undefined = "UNDEFINED",
        /// Outbound, and gateways.
        Client = "CLIENT",
        /// Inbound.
        Server = "SERVER",
        /// Both directions.
        ClientAndServer = "CLIENT_AND_SERVER",
    }
}
