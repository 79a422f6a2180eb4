//! WorkloadGroup (`networking/v1alpha3/workload_group.proto`): the template of WorkloadEntries that register themselves.

use crate::crd::rules;
use crate::schema::cel;
use crate::{message::message, networking::workload_entry::WorkloadEntry};
use serde_json::json;
use std::collections::BTreeMap;

message! {
    /// WorkloadGroup is the template of the WorkloadEntries that virtual machines register for themselves.
    #[schemars(extend("required" = ["template"]))]
    pub struct WorkloadGroup {
        /// What is copied into the metadata of entries.
        pub metadata: Option<ObjectMeta>,
        /// What is copied into the `spec` of entries; without an address.
        #[schemars(extend("x-kubernetes-validations" = rules::workload_template()))]
        pub template: Option<WorkloadEntry>,
        /// How the agent on the machine probes the workload.
        pub probe: Option<ReadinessProbe>,
    }

    /// Labels and annotations of entries.
    pub struct ObjectMeta {
        /// Labels that entries get.
        #[schemars(extend("maxProperties" = 256))]
        pub labels: BTreeMap<String, String>,
        /// Annotations that entries get.
        #[schemars(extend("maxProperties" = 256))]
        pub annotations: BTreeMap<String, String>,
    }

    /// How a workload is probed, with the meaning and defaults of a Pod's probe.
    pub struct ReadinessProbe {
        /// Seconds before the first probe.
        #[schemars(extend("minimum" = 0))]
        pub initial_delay_seconds: i32,
        /// Seconds that a probe may take; 0 means 1.
        #[schemars(extend("minimum" = 0))]
        pub timeout_seconds: i32,
        /// Seconds between probes; 0 means 10.
        #[schemars(extend("minimum" = 0))]
        pub period_seconds: i32,
        /// Successes in a row until healthy; 0 means 1.
        #[schemars(extend("minimum" = 0))]
        pub success_threshold: i32,
        /// Failures in a row until unhealthy; 0 means 3.
        #[schemars(extend("minimum" = 0))]
        pub failure_threshold: i32,
        /// Probe by a request.
        pub http_get: Option<HttpHealthCheckConfig>,
        /// Probe by a connection.
        pub tcp_socket: Option<TcpHealthCheckConfig>,
        /// Probe by a command.
        pub exec: Option<ExecHealthCheckConfig>,
        /// Probe by gRPC's health protocol.
        pub grpc: Option<GrpcHealthCheckConfig>,
    }
    oneof method: HealthCheckMethod {
        http_get => HttpGet(HttpHealthCheckConfig),
        tcp_socket => TcpSocket(TcpHealthCheckConfig),
        exec => Exec(ExecHealthCheckConfig),
        grpc => Grpc(GrpcHealthCheckConfig),
    }

    /// A probe by a request.
    #[schemars(extend("required" = ["port"]))]
    pub struct HttpHealthCheckConfig {
        /// The path; empty means `/`.
        pub path: String,
        /// The port that is asked.
        #[schemars(extend("x-kubernetes-validations" = rules::port()))]
        pub port: u32,
        /// The host that is asked; empty means the workload's address.
        pub host: String,
        /// `http` (also if empty) or `https`.
        #[schemars(extend("x-kubernetes-validations" = cel(&[("self in ['', 'HTTP', 'HTTPS']", "must be HTTP or HTTPS", "")])))]
        pub scheme: String,
        /// Headers of the request.
        pub http_headers: Vec<HttpHeader>,
    }

    /// A probe by gRPC's health protocol.
    pub struct GrpcHealthCheckConfig {
        /// The port that is asked.
        #[schemars(extend("x-kubernetes-validations" = rules::port()))]
        pub port: u32,
        /// The service to ask for.
        pub service: String,
    }

    /// A header of a probe.
    pub struct HttpHeader {
        /// The name of the header.
        #[schemars(extend("pattern" = "^[-_A-Za-z0-9]+$"))]
        pub name: String,
        /// The value of the header.
        pub value: String,
    }

    /// A probe by a connection.
    #[schemars(extend("required" = ["port"]))]
    pub struct TcpHealthCheckConfig {
        /// The host that is connected to; empty means localhost.
        pub host: String,
        /// The port that is connected to.
        #[schemars(extend("x-kubernetes-validations" = rules::port()))]
        pub port: u32,
    }

    /// A probe by a command.
    #[schemars(extend("required" = ["command"]))]
    pub struct ExecHealthCheckConfig {
        /// The command and its arguments; status 0 is healthy.
        #[schemars(extend("x-each" = json!({ "minLength": 1 })))]
        pub command: Vec<String>,
    }
}
