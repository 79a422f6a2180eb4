//! Sidecar (`networking/v1alpha3/sidecar.proto`): what a sidecar proxy listens on and what it sees.

use crate::crd::rules;
use crate::{
    message::{enumeration, message},
    networking::{destination_rule::ConnectionPoolSettings, gateway::ServerTlsSettings, virtual_service::Destination},
};
use std::collections::BTreeMap;

message! {
    /// Sidecar limits what the proxies of a namespace, or of selected workloads in it, listen on and which hosts they see.
    pub struct Sidecar {
        /// The workloads of the namespace; unset means all.
        pub workload_selector: Option<WorkloadSelector>,
        /// The inbound listeners; none are derived from the Services of the workload.
        pub ingress: Vec<IstioIngressListener>,
        /// The outbound listeners and the hosts they see; none mean everything that is exported to the namespace.
        pub egress: Vec<IstioEgressListener>,
        /// Limits for inbound connections.
        pub inbound_connection_pool: Option<ConnectionPoolSettings>,
        /// What happens to traffic for unknown hosts; unset means as the mesh says.
        pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    }

    /// An inbound listener.
    #[schemars(extend("required" = ["port"]))]
    pub struct IstioIngressListener {
        /// The port that is listened on.
        pub port: Option<SidecarPort>,
        /// The address that is listened on; empty means that of the workload.
        pub bind: String,
        /// How connections reach the listener.
        pub capture_mode: CaptureMode,
        /// Where connections go: `127.0.0.1:port`, `0.0.0.0:port`, their IPv6 forms or `unix://` and a path; empty means the
        /// same port.
        pub default_endpoint: String,
        /// TLS of the listener in place of mutual TLS.
        pub tls: Option<ServerTlsSettings>,
        /// Limits for connections of this listener.
        pub connection_pool: Option<ConnectionPoolSettings>,
    }

    /// An outbound listener.
    #[schemars(extend("required" = ["hosts"]))]
    pub struct IstioEgressListener {
        /// The port that is listened on; unset means a listener for all hosts that no other one covers.
        pub port: Option<SidecarPort>,
        /// The address that is listened on.
        pub bind: String,
        /// How connections reach the listener.
        pub capture_mode: CaptureMode,
        /// The hosts that are seen: `namespace/host`, with `*`, `.` or `~` for the namespace.
        pub hosts: Vec<String>,
    }

    /// Selects workloads by labels; the form of the networking group (policies use `selector::WorkloadSelector`).
    pub struct WorkloadSelector {
        /// All of these labels are required.
        #[schemars(extend("maxProperties" = 256, "x-each" = rules::selector_value()))]
        pub labels: BTreeMap<String, String>,
    }

    /// What happens to traffic for unknown hosts.
    pub struct OutboundTrafficPolicy {
        /// Whether traffic for unknown hosts is let through.
        pub mode: OutboundTrafficMode,
        /// The destination of all traffic for unknown hosts.
        pub egress_proxy: Option<Destination>,
    }

    /// The port of a listener.
    pub struct SidecarPort {
        /// The number of the port, 1 to 65535, or 0 for a Unix socket.
        pub number: u32,
        /// The protocol: HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP, TLS.
        pub protocol: String,
        /// A label for the port.
        pub name: String,
        /// Deprecated and without effect.
        pub target_port: u32,
    }
}

enumeration! {
    /// Whether traffic for unknown hosts is let through.
    pub enum OutboundTrafficMode {
        /// No.
        RegistryOnly = "REGISTRY_ONLY",
        /// Yes.
        AllowAny = "ALLOW_ANY",
    }

    /// How traffic reaches a listener.
    pub enum CaptureMode {
        /// As the proxy was set up.
        Default = "DEFAULT",
        /// Redirected.
        Iptables = "IPTABLES",
        /// Addressed to the listener.
        None = "NONE",
    }
}
