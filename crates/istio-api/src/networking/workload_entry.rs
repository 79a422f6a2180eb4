//! WorkloadEntry (`networking/v1alpha3/workload_entry.proto`): a workload that is no Pod.

use crate::message::message;
use std::collections::BTreeMap;

message! {
    /// The `spec` of a WorkloadEntry, and an endpoint of a ServiceEntry.
    pub struct WorkloadEntry {
        /// An IP address, a DNS name or `unix://` and a path; may be empty if `network` is set.
        pub address: String,
        /// Ports by the name of the service's port.
        pub ports: BTreeMap<String, u32>,
        /// The labels of the workload.
        pub labels: BTreeMap<String, String>,
        /// The network it is reached in.
        pub network: String,
        /// `region/zone/subzone`
        pub locality: String,
        /// Its share in load balancing; 0 means 1.
        pub weight: u32,
        /// The name of its service account, in the same namespace.
        pub service_account: String,
    }
}
