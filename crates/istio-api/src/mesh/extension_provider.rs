//! Extension providers of MeshConfig: backends of authorization, traces, metrics and access logs.

use crate::{
    duration::Duration,
    message::{enumeration, message},
    scalar::Struct,
};
use std::collections::BTreeMap;

/// The providers that exist without being configured (`pkg/config/mesh/mesh.go`).
pub(super) fn built_in() -> Vec<ExtensionProvider> {
    let named = |name: &str| ExtensionProvider { name: name.into(), ..Default::default() };
    vec![
        ExtensionProvider { prometheus: Some(PrometheusMetricsProvider {}), ..named("prometheus") },
        ExtensionProvider { stackdriver: Some(StackdriverProvider::default()), ..named("stackdriver") },
        ExtensionProvider {
            envoy_file_access_log: Some(EnvoyFileAccessLogProvider { path: "/dev/stdout".into(), ..Default::default() }),
            ..named("envoy")
        },
    ]
}

message! {
    /// A named backend.
    pub struct ExtensionProvider {
        /// By which policies name it.
        pub name: String,
        /// Authorization over HTTP.
        pub envoy_ext_authz_http: Option<EnvoyExternalAuthorizationHttpProvider>,
        /// Authorization over gRPC.
        pub envoy_ext_authz_grpc: Option<EnvoyExternalAuthorizationGrpcProvider>,
        /// Traces to Zipkin.
        pub zipkin: Option<ZipkinTracingProvider>,
        /// Deprecated: traces to Lightstep.
        pub lightstep: Option<LightstepTracingProvider>,
        /// Traces to Datadog.
        pub datadog: Option<DatadogTracingProvider>,
        /// Traces, metrics and logs to Stackdriver.
        pub stackdriver: Option<StackdriverProvider>,
        /// Deprecated: traces to OpenCensus.
        pub opencensus: Option<OpenCensusAgentTracingProvider>,
        /// Traces to SkyWalking.
        pub skywalking: Option<SkyWalkingTracingProvider>,
        /// Traces to OpenTelemetry.
        pub opentelemetry: Option<OpenTelemetryTracingProvider>,
        /// Metrics for Prometheus.
        pub prometheus: Option<PrometheusMetricsProvider>,
        /// Access logs to a file.
        pub envoy_file_access_log: Option<EnvoyFileAccessLogProvider>,
        /// Access logs of HTTP to a gRPC service.
        pub envoy_http_als: Option<EnvoyHttpGrpcV3LogProvider>,
        /// Access logs of TCP to a gRPC service.
        pub envoy_tcp_als: Option<EnvoyTcpGrpcV3LogProvider>,
        /// Access logs to OpenTelemetry.
        pub envoy_otel_als: Option<EnvoyOpenTelemetryLogProvider>,
        /// Secrets from an SDS service.
        pub sds: Option<SdsProvider>,
    }
    oneof provider: Provider {
        envoy_ext_authz_http => EnvoyExtAuthzHttp(EnvoyExternalAuthorizationHttpProvider),
        envoy_ext_authz_grpc => EnvoyExtAuthzGrpc(EnvoyExternalAuthorizationGrpcProvider),
        zipkin => Zipkin(ZipkinTracingProvider),
        lightstep => Lightstep(LightstepTracingProvider),
        datadog => Datadog(DatadogTracingProvider),
        stackdriver => Stackdriver(StackdriverProvider),
        opencensus => OpenCensus(OpenCensusAgentTracingProvider),
        skywalking => SkyWalking(SkyWalkingTracingProvider),
        opentelemetry => OpenTelemetry(OpenTelemetryTracingProvider),
        prometheus => Prometheus(PrometheusMetricsProvider),
        envoy_file_access_log => EnvoyFileAccessLog(EnvoyFileAccessLogProvider),
        envoy_http_als => EnvoyHttpAls(EnvoyHttpGrpcV3LogProvider),
        envoy_tcp_als => EnvoyTcpAls(EnvoyTcpGrpcV3LogProvider),
        envoy_otel_als => EnvoyOtelAls(EnvoyOpenTelemetryLogProvider),
        sds => Sds(SdsProvider),
    }

    /// Whether and how bodies are sent to authorization.
    pub struct EnvoyExternalAuthorizationRequestBody {
        /// Larger bodies are refused, or cut.
        pub max_request_bytes: u32,
        /// Whether larger bodies are cut.
        pub allow_partial_message: bool,
        /// Whether the body is binary data, not text.
        pub pack_as_bytes: bool,
    }

    /// Authorization over HTTP.
    pub struct EnvoyExternalAuthorizationHttpProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// For a check; unset means 600s.
        pub timeout: Option<Duration>,
        /// What is put before the path.
        pub path_prefix: String,
        /// Whether requests pass if the check fails.
        pub fail_open: bool,
        /// Whether changed headers choose the route anew.
        pub clear_route_cache: bool,
        /// The status if the check fails; empty means 403.
        pub status_on_error: String,
        /// Deprecated: that of `includeRequestHeadersInCheck`.
        pub include_headers_in_check: Vec<String>,
        /// Which headers are sent: names, prefixes with `*`, suffixes with `*`.
        pub include_request_headers_in_check: Vec<String>,
        /// Further headers that are sent.
        pub include_additional_headers_in_check: BTreeMap<String, String>,
        /// Whether and how bodies are sent.
        pub include_request_body_in_check: Option<EnvoyExternalAuthorizationRequestBody>,
        /// Headers of the answer that the workload receives.
        pub headers_to_upstream_on_allow: Vec<String>,
        /// Headers of the answer that the caller receives with a refusal.
        pub headers_to_downstream_on_deny: Vec<String>,
        /// Headers of the answer that the caller receives with the response.
        pub headers_to_downstream_on_allow: Vec<String>,
    }

    /// Authorization over gRPC.
    pub struct EnvoyExternalAuthorizationGrpcProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// For a check; unset means 600s.
        pub timeout: Option<Duration>,
        /// Whether requests pass if the check fails.
        pub fail_open: bool,
        /// Whether changed headers choose the route anew.
        pub clear_route_cache: bool,
        /// The status if the check fails; empty means 403.
        pub status_on_error: String,
        /// Whether and how bodies are sent.
        pub include_request_body_in_check: Option<EnvoyExternalAuthorizationRequestBody>,
    }

    /// Traces to Zipkin.
    pub struct ZipkinTracingProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// Of the path's tag; 0 means 256.
        pub max_tag_length: u32,
        /// Whether ids have 64 bits, not 128.
        #[serde(rename = "enable64bitTraceId")]
        pub enable_64bit_trace_id: bool,
        /// Empty means `/api/v2/spans`.
        pub path: String,
        /// Which headers carry the context.
        pub trace_context_option: TraceContextOption,
        /// For sending; unset means 5s.
        pub timeout: Option<Duration>,
        /// Headers of what is sent.
        pub headers: Vec<HttpHeader>,
    }

    /// Deprecated: traces to Lightstep.
    pub struct LightstepTracingProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// The token.
        pub access_token: String,
        /// Of the path's tag; 0 means 256.
        pub max_tag_length: u32,
    }

    /// Traces to Datadog.
    pub struct DatadogTracingProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// Of the path's tag; 0 means 256.
        pub max_tag_length: u32,
    }

    /// Traces to SkyWalking.
    pub struct SkyWalkingTracingProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// The token.
        pub access_token: String,
    }

    /// Traces, metrics and logs to Stackdriver.
    pub struct StackdriverProvider {
        /// Deprecated: whether traces are also printed.
        pub debug: bool,
        /// Deprecated.
        pub max_number_of_attributes: Option<i64>,
        /// Deprecated.
        pub max_number_of_annotations: Option<i64>,
        /// Deprecated.
        pub max_number_of_message_events: Option<i64>,
        /// Of the path's tag; 0 means 256.
        pub max_tag_length: u32,
        /// Logs.
        pub logging: Option<StackdriverLogging>,
    }

    /// Logs to Stackdriver.
    pub struct StackdriverLogging {
        /// CEL expressions by label.
        pub labels: BTreeMap<String, String>,
    }

    /// Deprecated: traces to OpenCensus.
    pub struct OpenCensusAgentTracingProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// Which headers carry the context.
        pub context: Vec<TraceContext>,
        /// Of the path's tag; 0 means 256.
        pub max_tag_length: u32,
    }

    /// Metrics for Prometheus.
    pub struct PrometheusMetricsProvider {}

    /// Access logs to a file.
    pub struct EnvoyFileAccessLogProvider {
        /// The file.
        pub path: String,
        /// The format; unset means the mesh's.
        pub log_format: Option<FileLogFormat>,
        /// Whether empty values are left out.
        pub omit_empty_values: bool,
    }

    /// A format of access logs.
    pub struct FileLogFormat {
        /// As text.
        pub text: Option<String>,
        /// As JSON.
        pub labels: Option<Struct>,
    }
    oneof log_format: LogFormatKind { text => Text(str), labels => Labels(Struct) }

    /// Access logs of HTTP to a gRPC service.
    pub struct EnvoyHttpGrpcV3LogProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// The name of the log; empty means `http_envoy_accesslog`.
        pub log_name: String,
        /// Which state of filters is logged.
        pub filter_state_objects_to_log: Vec<String>,
        /// Which headers of requests.
        pub additional_request_headers_to_log: Vec<String>,
        /// Which headers of responses.
        pub additional_response_headers_to_log: Vec<String>,
        /// Which trailers of responses.
        pub additional_response_trailers_to_log: Vec<String>,
    }

    /// Access logs of TCP to a gRPC service.
    pub struct EnvoyTcpGrpcV3LogProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// The name of the log; empty means `tcp_envoy_accesslog`.
        pub log_name: String,
        /// Which state of filters is logged.
        pub filter_state_objects_to_log: Vec<String>,
    }

    /// Access logs to OpenTelemetry.
    pub struct EnvoyOpenTelemetryLogProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// The name of the log; empty means `otel_envoy_accesslog`.
        pub log_name: String,
        /// The format.
        pub log_format: Option<OpenTelemetryLogFormat>,
    }

    /// The format of logs to OpenTelemetry: a body and attributes.
    pub struct OpenTelemetryLogFormat {
        /// The body.
        pub text: String,
        /// The attributes.
        pub labels: Option<Struct>,
    }

    /// Traces to OpenTelemetry.
    pub struct OpenTelemetryTracingProvider {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// Of the path's tag; 0 means 256.
        pub max_tag_length: u32,
        /// Over HTTP in place of gRPC.
        pub http: Option<HttpService>,
        /// Settings of gRPC.
        pub grpc: Option<GrpcService>,
        /// What else describes the sender.
        pub resource_detectors: Option<ResourceDetectors>,
        /// In whose terms the service is named.
        pub service_attribute_enrichment: ServiceAttributeEnrichment,
        /// Sampling by Dynatrace.
        pub dynatrace_sampler: Option<DynatraceSampler>,
    }

    /// Sampling by Dynatrace.
    pub struct DynatraceSampler {
        /// The tenant.
        pub tenant: String,
        /// The cluster.
        pub cluster_id: i32,
        /// Until the service answers; 0 means 1000.
        pub root_spans_per_minute: u32,
        /// Where sampling is asked for; unset means where the spans go.
        pub http_service: Option<DynatraceApi>,
    }

    /// Where Dynatrace's sampling is asked for.
    pub struct DynatraceApi {
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
        /// The request.
        pub http: Option<HttpService>,
    }

    /// Secrets from an SDS service.
    pub struct SdsProvider {
        /// By which `sds://` names it.
        pub name: String,
        /// `[namespace/]host`
        pub service: String,
        /// Its port.
        pub port: u32,
    }

    /// A service over HTTP.
    pub struct HttpService {
        /// The path.
        pub path: String,
        /// For a request; unset means 3s.
        pub timeout: Option<Duration>,
        /// Headers of requests.
        pub headers: Vec<HttpHeader>,
    }

    /// A header.
    pub struct HttpHeader {
        /// Its name.
        pub name: String,
        /// Its value.
        pub value: Option<String>,
        /// The variable of the proxy's environment with its value.
        pub env_name: Option<String>,
    }
    oneof header_value: HttpHeaderValue { value => Value(str), env_name => EnvName(str) }

    /// What else describes the sender of spans.
    pub struct ResourceDetectors {
        /// `OTEL_RESOURCE_ATTRIBUTES`
        pub environment: Option<EnvironmentResourceDetector>,
        /// Dynatrace's files.
        pub dynatrace: Option<DynatraceResourceDetector>,
    }

    /// Attributes from `OTEL_RESOURCE_ATTRIBUTES`.
    pub struct EnvironmentResourceDetector {}

    /// Attributes from Dynatrace's files.
    pub struct DynatraceResourceDetector {}

    /// A service over gRPC.
    pub struct GrpcService {
        /// For a request.
        pub timeout: Option<Duration>,
        /// Metadata of requests.
        pub initial_metadata: Vec<HttpHeader>,
    }
}

enumeration! {
    /// Which headers carry the context of traces to Zipkin.
    pub enum TraceContextOption {
        /// B3.
        UseB3 = "USE_B3",
        /// B3 and W3C.
        UseB3WithW3cPropagation = "USE_B3_WITH_W3C_PROPAGATION",
    }

    /// Which headers carry the context of traces to OpenCensus.
    pub enum TraceContext {
        /// None.
        Unspecified = "UNSPECIFIED",
        /// `traceparent`
        W3cTraceContext = "W3C_TRACE_CONTEXT",
        /// `grpc-trace-bin`
        GrpcBin = "GRPC_BIN",
        /// `X-Cloud-Trace-Context`
        CloudTraceContext = "CLOUD_TRACE_CONTEXT",
        /// `X-B3-*`
        B3 = "B3",
    }

    /// In whose terms spans name the service.
    pub enum ServiceAttributeEnrichment {
        /// Istio's canonical service.
        IstioCanonical = "ISTIO_CANONICAL",
        /// OpenTelemetry's conventions.
        OtelSemanticConventions = "OTEL_SEMANTIC_CONVENTIONS",
    }
}
