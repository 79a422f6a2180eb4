//! EndpointSlice (`discovery.k8s.io/v1`): some of the endpoints of a Service.

use crate::message::message;

message! {
    /// The body of an EndpointSlice, which has no `spec`.
    pub struct EndpointSlice {
        /// `IPv4`, `IPv6` or `FQDN`.
        pub address_type: String,
        /// The endpoints.
        pub endpoints: Vec<Endpoint>,
        /// The ports that each of them has.
        pub ports: Vec<EndpointPort>,
    }

    /// An endpoint.
    pub struct Endpoint {
        /// Its addresses, of which the first is used.
        pub addresses: Vec<String>,
        /// Its state.
        pub conditions: EndpointConditions,
        /// Its DNS name within a headless service.
        pub hostname: Option<String>,
        /// Where it runs.
        pub node_name: Option<String>,
        /// The pod behind it.
        pub target_ref: Option<ObjectReference>,
        /// Its zone.
        pub zone: Option<String>,
    }

    /// The state of an endpoint; unset means unknown, which counts as ready.
    pub struct EndpointConditions {
        /// Takes new connections.
        pub ready: Option<bool>,
        /// As `ready`, but also while it terminates.
        pub serving: Option<bool>,
        /// Is about to end.
        pub terminating: Option<bool>,
    }

    /// A port of endpoints.
    pub struct EndpointPort {
        /// The name of the Service's port.
        pub name: Option<String>,
        /// `TCP` (also if unset), `UDP` or `SCTP`.
        pub protocol: Option<String>,
        /// The number; unset means all ports.
        pub port: Option<i32>,
        /// The protocol inside the connection.
        pub app_protocol: Option<String>,
    }

    /// A reference to an object.
    pub struct ObjectReference {
        /// Its kind.
        pub kind: String,
        /// Its namespace.
        pub namespace: String,
        /// Its name.
        pub name: String,
    }
}
