//! Node (`v1`): labels for the locality, addresses for gateways behind node ports.

use crate::message::message;

message! {
    /// The `spec` of a Node.
    pub struct Node {}

    /// The `status` of a Node.
    pub struct NodeStatus {
        /// Its addresses.
        pub addresses: Vec<NodeAddress>,
    }

    /// An address of a node.
    pub struct NodeAddress {
        /// `ExternalIP`, `InternalIP`, `Hostname` …
        #[serde(rename = "type")]
        pub address_type: String,
        /// The address.
        pub address: String,
    }
}
