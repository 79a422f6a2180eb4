//! PeerAuthentication (`security/v1beta1/peer_authentication.proto`): whether workloads ask for mutual TLS.

use crate::crd::rules;
use crate::{
    message::{enumeration, message},
    selector::WorkloadSelector,
};
use std::collections::BTreeMap;

message! {
    /// PeerAuthentication says whether workloads ask their peers for mutual TLS. The narrowest policy counts: for a port, a
    /// workload, a namespace, the mesh.
    #[schemars(extend("x-kubernetes-validations" = rules::port_level_needs_selector()))]
    pub struct PeerAuthentication {
        /// The workloads; unset means all of the namespace (of the mesh in the root namespace).
        pub selector: Option<WorkloadSelector>,
        /// The mode for all ports.
        pub mtls: Option<MutualTls>,
        /// The mode by the port of the workload; only with a selector.
        #[schemars(extend("minProperties" = 1))]
        #[schemars(extend("x-kubernetes-validations" = rules::port_keys()))]
        pub port_level_mtls: BTreeMap<u32, MutualTls>,
    }

    /// Mutual TLS.
    pub struct MutualTls {
        /// Whether mutual TLS is asked for.
        pub mode: MutualTlsMode,
    }
}

enumeration! {
    /// Whether mutual TLS is asked for.
    pub enum MutualTlsMode {
        /// As the next wider policy says; at last PERMISSIVE.
        Unset = "UNSET",
        /// No.
        Disable = "DISABLE",
        /// Mutual TLS and plain text are accepted.
        Permissive = "PERMISSIVE",
        /// Only mutual TLS is accepted.
        Strict = "STRICT",
    }
}
