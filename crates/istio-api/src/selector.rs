//! How policies say which workloads or resources they are about (`type/v1beta1/selector.proto`).

use crate::crd::rules;
use crate::message::{enumeration, message};
use crate::schema::cel;
use std::collections::BTreeMap;

message! {
    /// Selects workloads of a namespace by labels; no labels select all.
    pub struct WorkloadSelector {
        /// Labels of the workload, all of which are required.
        #[schemars(extend("maxProperties" = 4096, "x-kubernetes-validations" = rules::selector_keys(), "x-each" = rules::selector_value()))]
        pub match_labels: BTreeMap<String, String>,
    }

    /// A port by number.
    pub struct PortSelector {
        /// The number of the port, 1 to 65535.
        pub number: u32,
    }

    /// The resource that a policy attaches to: a Gateway, GatewayClass, Service or ServiceEntry.
    #[schemars(extend("required" = ["kind", "name"]))]
    pub struct PolicyTargetReference {
        /// The API group of the target; empty for core Kubernetes kinds.
        #[schemars(extend("maxLength" = 253, "pattern" = rules::DNS_NAME_OR_EMPTY))]
        pub group: String,
        /// The kind of the target.
        #[schemars(extend("minLength" = 1, "maxLength" = 63, "pattern" = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"))]
        pub kind: String,
        /// The name of the target.
        #[schemars(extend("minLength" = 1, "maxLength" = 253))]
        pub name: String,
        /// Must be empty: a policy targets its own namespace.
        #[schemars(extend("x-kubernetes-validations" = cel(&[("self.size() == 0", "a policy can only target its own namespace; leave the namespace out", "")])))]
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
