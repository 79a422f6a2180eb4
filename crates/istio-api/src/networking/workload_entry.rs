//! WorkloadEntry (`networking/v1alpha3/workload_entry.proto`): a workload that is no Pod.

use crate::crd::rules;
use crate::message::message;
use serde_json::json;
use std::collections::BTreeMap;

message! {
    /// WorkloadEntry is one workload that is no Pod, such as a virtual machine; a ServiceEntry selects it by its labels.
    #[schemars(extend("x-kubernetes-validations" = rules::workload_entry()))]
    pub struct WorkloadEntry {
        /// An IP address, a DNS name or `unix://` and a path; may be empty if `network` is set.
        #[schemars(extend("maxLength" = 256, "x-kubernetes-validations" = rules::unix_address()))]
        pub address: String,
        /// Ports by the name of the service's port.
        #[schemars(extend("maxProperties" = 128, "x-kubernetes-validations" = rules::port_names(), "x-each" = json!({ "x-kubernetes-validations": rules::port() })))]
        pub ports: BTreeMap<String, u32>,
        /// The labels of the workload, by which a ServiceEntry selects it.
        #[schemars(extend("maxProperties" = 256))]
        pub labels: BTreeMap<String, String>,
        /// The network it is reached in.
        #[schemars(extend("maxLength" = 2048))]
        pub network: String,
        /// Where the workload runs: `region/zone/subzone`.
        #[schemars(extend("maxLength" = 2048))]
        pub locality: String,
        /// Its share in load balancing; 0 means 1.
        pub weight: u32,
        /// The name of its service account, in the same namespace.
        #[schemars(extend("maxLength" = 253))]
        pub service_account: String,
    }
}
