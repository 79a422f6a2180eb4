//! ServiceEntry (`networking/v1alpha3/service_entry.proto`): services that no Kubernetes Service describes.

use crate::crd::rules;
use crate::{
    message::{enumeration, message},
    networking::{sidecar::WorkloadSelector, workload_entry::WorkloadEntry},
    scalar::Generation,
    status::{AnalysisMessage, IstioCondition},
};
use serde_json::json;

message! {
    /// ServiceEntry adds a service that no Kubernetes Service describes, outside of the mesh or inside of it, to the services
    /// that proxies know.
    #[schemars(extend("required" = ["hosts"]))]
    #[schemars(extend("x-kubernetes-validations" = rules::service_entry()))]
    pub struct ServiceEntry {
        /// The names by which the service is called.
        #[schemars(extend("minItems" = 1, "maxItems" = 256, "x-each" = rules::host()))]
        pub hosts: Vec<String>,
        /// Virtual addresses or ranges by which connections to the service are known.
        #[schemars(extend("maxItems" = 256, "x-each" = json!({ "maxLength": 64 })))]
        pub addresses: Vec<String>,
        /// The ports of the service.
        #[schemars(extend("maxItems" = 256, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"], "x-kubernetes-validations" = rules::distinct_port_numbers()))]
        pub ports: Vec<ServicePort>,
        /// Whether it belongs to the mesh.
        pub location: Location,
        /// How the endpoints of the service are found.
        pub resolution: Resolution,
        /// The endpoints, if nothing else finds them.
        #[schemars(extend("maxItems" = 4096))]
        pub endpoints: Vec<WorkloadEntry>,
        /// Selects WorkloadEntries and Pods of the namespace as endpoints.
        pub workload_selector: Option<WorkloadSelector>,
        /// The namespaces that see the object: `*`, `.`, `~` or names; empty means the mesh's default.
        pub export_to: Vec<String>,
        /// Which subject names the servers' certificates may have.
        pub subject_alt_names: Vec<String>,
    }

    /// A port of the service.
    #[schemars(extend("required" = ["number", "name"]))]
    pub struct ServicePort {
        /// The number of the port, 1 to 65535.
        #[schemars(extend("x-kubernetes-validations" = rules::port()))]
        pub number: u32,
        /// HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP, TLS; empty means that Envoy sniffs.
        #[schemars(extend("maxLength" = 256))]
        pub protocol: String,
        /// A label for the port, by which endpoints map it.
        #[schemars(extend("maxLength" = 256))]
        pub name: String,
        /// The port of the endpoints; 0 means the same number.
        #[schemars(extend("x-kubernetes-validations" = rules::port()))]
        pub target_port: u32,
    }

    /// The `status` of a ServiceEntry.
    pub struct ServiceEntryStatus {
        /// What controllers found, one entry for each type of condition.
        #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
        pub conditions: Vec<IstioCondition>,
        /// What analysis found.
        pub validation_messages: Vec<AnalysisMessage>,
        /// The generation that the status is about.
        pub observed_generation: Generation,
        /// The addresses that were allocated for the hosts.
        pub addresses: Vec<ServiceEntryAddress>,
    }

    /// An allocated address.
    pub struct ServiceEntryAddress {
        /// The IP address.
        pub value: String,
        /// The host it is for.
        pub host: String,
    }
}

enumeration! {
    /// Whether the service belongs to the mesh.
    pub enum Location {
        /// Outside: no mutual TLS by itself.
        MeshExternal = "MESH_EXTERNAL",
        /// Inside.
        MeshInternal = "MESH_INTERNAL",
    }

    /// How endpoints are found.
    pub enum Resolution {
        /// Connections go to the address that the client asked for.
        None = "NONE",
        /// From `endpoints` or the selector.
        Static = "STATIC",
        /// Envoy resolves the names and uses all addresses.
        Dns = "DNS",
        /// Envoy resolves the name and uses the first address for new connections.
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        /// Envoy resolves the name that the request asks for.
        DynamicDns = "DYNAMIC_DNS",
    }
}
