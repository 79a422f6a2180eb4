//! Telemetry (group `telemetry.istio.io`, `telemetry/v1alpha1/telemetry.proto`): traces, metrics and access logs.

use crate::crd::rules;
use crate::{
    duration::Duration,
    message::{enumeration, message},
    selector::{PolicyTargetReference, WorkloadSelector},
};
use std::collections::BTreeMap;

message! {
    /// Telemetry sets the traces, metrics and access logs of workloads, over the settings of the mesh.
    #[schemars(extend("x-kubernetes-validations" = rules::one_attachment(&["selector", "targetRef", "targetRefs"])))]
    pub struct Telemetry {
        /// The workloads; unset means all of the namespace (of the mesh in the root namespace).
        pub selector: Option<WorkloadSelector>,
        /// The resource it attaches to instead.
        pub target_ref: Option<PolicyTargetReference>,
        /// The resources it attaches to instead.
        #[schemars(extend("maxItems" = 16))]
        pub target_refs: Vec<PolicyTargetReference>,
        /// Which traces are made.
        pub tracing: Vec<Tracing>,
        /// Which metrics are made.
        pub metrics: Vec<Metrics>,
        /// Which access logs are written.
        pub access_logging: Vec<AccessLogging>,
    }

    /// Settings of traces.
    pub struct Tracing {
        /// The direction of the traffic that this is about.
        #[serde(rename = "match")]
        pub matches: Option<TracingSelector>,
        /// The providers that get the spans; the first counts.
        pub providers: Vec<ProviderRef>,
        /// The share of requests in percents.
        #[schemars(extend("minimum" = 0, "maximum" = 100))]
        pub random_sampling_percentage: Option<f64>,
        /// Whether spans are not sent, though the context is passed on.
        pub disable_span_reporting: Option<bool>,
        /// Tags of spans by name.
        pub custom_tags: BTreeMap<String, CustomTag>,
        /// Whether the request's id decides on sampling; unset means yes.
        pub use_request_id_for_trace_sampling: Option<bool>,
        /// Whether Istio's tags are added; unset means yes.
        pub enable_istio_tags: Option<bool>,
        /// Whether the context is not passed on.
        pub disable_context_propagation: Option<bool>,
    }

    /// In which direction.
    pub struct TracingSelector {
        /// The direction of the traffic.
        pub mode: WorkloadMode,
    }

    /// The value of a tag.
    pub struct CustomTag {
        /// The tag has a fixed text.
        pub literal: Option<Literal>,
        /// The tag has the value of a variable of the proxy's environment.
        pub environment: Option<Environment>,
        /// The tag has the value of a header of the request.
        pub header: Option<RequestHeader>,
        /// The tag has a text in the format of access logs.
        pub formatter: Option<Formatter>,
    }
    oneof tag: CustomTagValue {
        literal => Literal(Literal),
        environment => Environment(Environment),
        header => Header(RequestHeader),
        formatter => Formatter(Formatter),
    }

    /// A text.
    #[schemars(extend("required" = ["value"]))]
    pub struct Literal {
        /// The text of the tag.
        #[schemars(extend("minLength" = 1))]
        pub value: String,
    }

    /// A variable of the proxy's environment.
    #[schemars(extend("required" = ["name"]))]
    pub struct Environment {
        /// The name of the variable.
        #[schemars(extend("minLength" = 1))]
        pub name: String,
        /// The value if it is not set.
        pub default_value: String,
    }

    /// A header of the request.
    #[schemars(extend("required" = ["name"]))]
    pub struct RequestHeader {
        /// The name of the header.
        #[schemars(extend("minLength" = 1))]
        pub name: String,
        /// The value if it is missing.
        pub default_value: String,
    }

    /// A format of access logs.
    #[schemars(extend("required" = ["value"]))]
    pub struct Formatter {
        /// The format, such as `%REQ(USER-AGENT)%`.
        #[schemars(extend("minLength" = 1))]
        pub value: String,
    }

    /// An extension provider of the mesh.
    #[schemars(extend("required" = ["name"]))]
    pub struct ProviderRef {
        /// The name of the provider in MeshConfig.
        #[schemars(extend("minLength" = 1))]
        pub name: String,
    }

    /// Settings of metrics.
    pub struct Metrics {
        /// The providers that get the metrics.
        pub providers: Vec<ProviderRef>,
        /// Changes of metrics, applied in order.
        pub overrides: Vec<MetricsOverrides>,
        /// How often TCP metrics are reported; unset means 5s.
        pub reporting_interval: Option<Duration>,
    }

    /// Which metrics.
    pub struct MetricSelector {
        /// One of Istio's metrics.
        pub metric: Option<IstioMetric>,
        /// Another metric, by its name.
        #[schemars(extend("minLength" = 1))]
        pub custom_metric: Option<String>,
        /// The direction of the traffic.
        pub mode: WorkloadMode,
    }
    oneof metric_match: MetricMatch { metric => Metric(IstioMetric), custom_metric => CustomMetric(str) }

    /// A change of metrics.
    pub struct MetricsOverrides {
        /// The metrics that are changed; unset means all.
        #[serde(rename = "match")]
        pub matches: Option<MetricSelector>,
        /// Whether these metrics are off.
        pub disabled: Option<bool>,
        /// Changes of tags by name.
        pub tag_overrides: BTreeMap<String, TagOverride>,
    }

    /// A change of a tag.
    #[schemars(extend("x-kubernetes-validations" = rules::tag_override()))]
    pub struct TagOverride {
        /// Whether the tag is set or removed.
        pub operation: TagOperation,
        /// The value of the tag: a CEL expression over the request.
        pub value: String,
    }

    /// Settings of access logs.
    pub struct AccessLogging {
        /// The direction of the traffic that this is about.
        #[serde(rename = "match")]
        pub matches: Option<LogSelector>,
        /// The providers that get the logs.
        pub providers: Vec<ProviderRef>,
        /// Whether access logs are off.
        pub disabled: Option<bool>,
        /// Which requests are logged; unset means all.
        pub filter: Option<Filter>,
    }

    /// In which direction.
    pub struct LogSelector {
        /// The direction of the traffic.
        pub mode: WorkloadMode,
    }

    /// What is logged.
    pub struct Filter {
        /// A CEL expression over the request that must be true.
        pub expression: String,
    }
}

enumeration! {
    /// The direction of traffic.
    pub enum WorkloadMode {
        /// Both directions.
        ClientAndServer = "CLIENT_AND_SERVER",
        /// Outbound, and gateways.
        Client = "CLIENT",
        /// Inbound.
        Server = "SERVER",
    }

    /// Istio's metrics.
    pub enum IstioMetric {
        /// All of them.
        AllMetrics = "ALL_METRICS",
        /// `istio_requests_total`
        RequestCount = "REQUEST_COUNT",
        /// `istio_request_duration_milliseconds`
        RequestDuration = "REQUEST_DURATION",
        /// `istio_request_bytes`
        RequestSize = "REQUEST_SIZE",
        /// `istio_response_bytes`
        ResponseSize = "RESPONSE_SIZE",
        /// `istio_tcp_connections_opened_total`
        TcpOpenedConnections = "TCP_OPENED_CONNECTIONS",
        /// `istio_tcp_connections_closed_total`
        TcpClosedConnections = "TCP_CLOSED_CONNECTIONS",
        /// `istio_tcp_sent_bytes_total`
        TcpSentBytes = "TCP_SENT_BYTES",
        /// `istio_tcp_received_bytes_total`
        TcpReceivedBytes = "TCP_RECEIVED_BYTES",
        /// `istio_request_messages_total`
        GrpcRequestMessages = "GRPC_REQUEST_MESSAGES",
        /// `istio_response_messages_total`
        GrpcResponseMessages = "GRPC_RESPONSE_MESSAGES",
    }

    /// What happens to a tag.
    pub enum TagOperation {
        /// Set to the value.
        Upsert = "UPSERT",
        /// Removed.
        Remove = "REMOVE",
    }
}
