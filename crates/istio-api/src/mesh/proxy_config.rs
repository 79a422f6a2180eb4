//! The mesh's ProxyConfig (`mesh/v1alpha1/proxy.proto`) with Istio's defaults (`pkg/config/mesh/mesh.go`).
//! It stands in MeshConfig, in the annotation `proxy.istio.io/config` and in the metadata of proxies; the kind
//! ProxyConfig is [`crate::networking::proxy_config`].

use super::{extension_provider::TraceContext, fields, lay_over, lay_over_within};
use crate::{
    duration::Duration,
    message::{configuration, enumeration, message},
    networking::{
        destination_rule::{ClientTlsSettings, TcpKeepalive},
        proxy_config::ProxyImage,
        workload_group::ReadinessProbe,
    },
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

configuration! {
    /// Settings of a proxy; unset fields have Istio's defaults.
    #[schemars(extend("x-oneof" = json!([["serviceCluster", "tracingServiceName"]])))]
    pub struct ProxyConfig {
        /// Where the bootstrap is written.
        pub config_path: String,
        /// Envoy's binary.
        pub binary_path: String,
        /// The name of the workload in traces and statistics.
        pub service_cluster: Option<String>,
        /// Or how that name follows from the workload.
        pub tracing_service_name: Option<TracingServiceName>,
        /// How long listeners drain when they change.
        pub drain_duration: Option<Duration>,
        /// `host:port` of the control plane.
        pub discovery_address: String,
        /// Deprecated and without effect.
        pub discovery_refresh_delay: Option<Duration>,
        /// Deprecated: that of `tracing.zipkin`.
        pub zipkin_address: String,
        /// `host:port` of statsd.
        pub statsd_udp_address: String,
        /// Deprecated: that of `envoyMetricsService`.
        pub envoy_metrics_service_address: String,
        /// The port of Envoy's admin interface.
        pub proxy_admin_port: i32,
        /// Deprecated and without effect.
        pub availability_zone: String,
        /// Whether the agent uses mutual TLS towards the control plane.
        pub control_plane_auth_policy: AuthenticationPolicy,
        /// A bootstrap in place of the generated one.
        pub custom_config_file: String,
        /// The longest name of statistics.
        pub stat_name_length: i32,
        /// Worker threads; 0 means one per CPU, unset means by the CPU limit.
        pub concurrency: Option<i32>,
        /// The template of the bootstrap.
        pub proxy_bootstrap_template_path: String,
        /// How traffic is redirected.
        pub interception_mode: InboundInterceptionMode,
        /// Traces.
        pub tracing: Option<Tracing>,
        /// Deprecated and without effect.
        pub sds: Option<Sds>,
        /// Where access logs go over gRPC.
        pub envoy_access_log_service: Option<RemoteService>,
        /// Where metrics go over gRPC.
        pub envoy_metrics_service: Option<RemoteService>,
        /// The environment of the agent; `ISTIO_META_` becomes metadata of the node.
        pub proxy_metadata: BTreeMap<String, String>,
        /// Envoy's runtime.
        pub runtime_values: BTreeMap<String, String>,
        /// The port of the agent's health and metrics.
        pub status_port: i32,
        /// Tags of statistics.
        pub extra_stat_tags: Vec<String>,
        /// What stands before the gateway.
        pub gateway_topology: Option<Topology>,
        /// How long the proxy drains before it ends.
        pub termination_drain_duration: Option<Duration>,
        /// The mesh's name.
        pub mesh_id: String,
        /// How the agent on a machine probes the workload.
        pub readiness_probe: Option<ReadinessProbe>,
        /// Which further statistics Envoy keeps.
        pub proxy_stats_matcher: Option<ProxyStatsMatcher>,
        /// Whether the application starts after the proxy.
        pub hold_application_until_proxy_starts: Option<bool>,
        /// Further authorities that the proxy trusts, as PEM.
        pub ca_certificates_pem: Vec<String>,
        /// The image of the proxy.
        pub image: Option<ProxyImage>,
        /// What speeds up the private key.
        pub private_key_provider: Option<PrivateKeyProvider>,
        /// Which headers the proxy adds.
        pub proxy_headers: Option<ProxyHeaders>,
        /// How often access logs are written.
        pub file_flush_interval: Option<Duration>,
        /// From which size access logs are written, in KiB.
        pub file_flush_min_size_kb: u32,
        /// Whether metrics are compressed.
        pub stats_compression: Option<bool>,
        /// Limits and timeouts of listeners.
        pub connection_settings: Option<ConnectionSettings>,
    }
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            config_path: "./etc/istio/proxy".into(),
            binary_path: "/usr/local/bin/envoy".into(),
            service_cluster: Some("istio-proxy".into()),
            tracing_service_name: None,
            drain_duration: Some(Duration::from_secs(45)),
            discovery_address: "istiod.istio-system.svc:15012".into(),
            discovery_refresh_delay: None,
            zipkin_address: String::new(),
            statsd_udp_address: String::new(),
            envoy_metrics_service_address: String::new(),
            proxy_admin_port: 15000,
            availability_zone: String::new(),
            control_plane_auth_policy: AuthenticationPolicy::MutualTls,
            custom_config_file: String::new(),
            stat_name_length: 189,
            concurrency: None,
            proxy_bootstrap_template_path: String::new(),
            interception_mode: InboundInterceptionMode::Redirect,
            tracing: None,
            sds: None,
            envoy_access_log_service: None,
            envoy_metrics_service: None,
            proxy_metadata: BTreeMap::new(),
            runtime_values: BTreeMap::new(),
            status_port: 15020,
            extra_stat_tags: Vec::new(),
            gateway_topology: None,
            termination_drain_duration: Some(Duration::from_secs(5)),
            mesh_id: String::new(),
            readiness_probe: None,
            proxy_stats_matcher: None,
            hold_application_until_proxy_starts: None,
            ca_certificates_pem: Vec::new(),
            image: None,
            private_key_provider: None,
            proxy_headers: None,
            file_flush_interval: None,
            file_flush_min_size_kb: 0,
            stats_compression: None,
            connection_settings: None,
        }
    }
}

impl ProxyConfig {
    /// Settings laid over Istio's defaults. Unknown fields are skipped; errors are wrong types and unknown enum values.
    pub fn from_yaml_value(document: Value) -> Result<Self, serde_json::Error> {
        Self::default().overlaid(document)
    }

    /// These settings with those of `document` laid over them: every given field replaces its predecessor, but
    /// `proxyMetadata` and `proxyHeaders` are merged entry by entry, as in Istio.
    pub fn overlaid(&self, document: Value) -> Result<Self, serde_json::Error> {
        let mut overlay = fields(document)?;
        let mut merged = fields(serde_json::to_value(self)?)?;
        for (given, excluded) in [("tracingServiceName", "serviceCluster"), ("serviceCluster", "tracingServiceName")] {
            if overlay.get(given).is_some_and(|value| !value.is_null()) {
                merged.remove(excluded);
                // The default of a field that is left out would come back.
                merged.insert(excluded.into(), Value::Null);
            }
        }
        lay_over_within(&mut merged, &mut overlay, "proxyMetadata");
        lay_over_within(&mut merged, &mut overlay, "proxyHeaders");
        lay_over(&mut merged, overlay);
        serde_json::from_value(Value::Object(merged))
    }
}

message! {
    /// Traces.
    pub struct Tracing {
        /// To Zipkin.
        pub zipkin: Option<Zipkin>,
        /// To Lightstep.
        pub lightstep: Option<Lightstep>,
        /// To Datadog.
        pub datadog: Option<Datadog>,
        /// To Stackdriver.
        pub stackdriver: Option<Stackdriver>,
        /// To OpenCensus.
        pub open_census_agent: Option<OpenCensusAgent>,
        /// Tags of spans by name.
        pub custom_tags: BTreeMap<String, CustomTag>,
        /// Of the path's tag; 0 means 256.
        pub max_path_tag_length: u32,
        /// The share of requests in percents; 0 means 1.
        pub sampling: f64,
        /// TLS towards the backend.
        pub tls_settings: Option<ClientTlsSettings>,
        /// Whether Istio's tags are added; unset means yes.
        pub enable_istio_tags: Option<bool>,
    }
    oneof tracer: Tracer {
        zipkin => Zipkin(Zipkin),
        lightstep => Lightstep(Lightstep),
        datadog => Datadog(Datadog),
        stackdriver => Stackdriver(Stackdriver),
        open_census_agent => OpenCensusAgent(OpenCensusAgent),
    }

    /// Traces to Zipkin.
    pub struct Zipkin {
        /// `host:port`
        pub address: String,
    }

    /// Traces to Lightstep.
    pub struct Lightstep {
        /// `host:port`
        pub address: String,
        /// The token.
        pub access_token: String,
    }

    /// Traces to Datadog.
    pub struct Datadog {
        /// `host:port`
        pub address: String,
    }

    /// Traces to Stackdriver.
    pub struct Stackdriver {
        /// Whether traces are also printed.
        pub debug: bool,
        /// 200 at most.
        pub max_number_of_attributes: Option<i64>,
        /// 200 at most.
        pub max_number_of_annotations: Option<i64>,
        /// 200 at most.
        pub max_number_of_message_events: Option<i64>,
    }

    /// Traces to OpenCensus.
    pub struct OpenCensusAgent {
        /// `host:port`
        pub address: String,
        /// Which headers carry the context.
        pub context: Vec<TraceContext>,
    }

    /// The value of a tag.
    pub struct CustomTag {
        /// A text.
        pub literal: Option<Literal>,
        /// A variable of the proxy's environment.
        pub environment: Option<Environment>,
        /// A header of the request.
        pub header: Option<RequestHeader>,
    }
    oneof tag: CustomTagValue { literal => Literal(Literal), environment => Environment(Environment), header => Header(RequestHeader) }

    /// A text.
    pub struct Literal {
        /// The text.
        pub value: String,
    }

    /// A variable of the proxy's environment.
    pub struct Environment {
        /// Its name.
        pub name: String,
        /// The value if it is not set.
        pub default_value: String,
    }

    /// A header of the request.
    pub struct RequestHeader {
        /// Its name.
        pub name: String,
        /// The value if it is missing.
        pub default_value: String,
    }

    /// Deprecated and without effect.
    pub struct Sds {
        /// Whether it is on.
        pub enabled: bool,
        /// The path of the token.
        pub k8s_sa_jwt_path: String,
    }

    /// What stands before the gateway.
    pub struct Topology {
        /// How many proxies.
        pub num_trusted_proxies: u32,
        /// What happens to `X-Forwarded-Client-Cert`.
        pub forward_client_cert_details: ForwardClientCertDetails,
        /// Whether the PROXY protocol is expected.
        pub proxy_protocol: Option<ProxyProtocolConfiguration>,
    }

    /// The PROXY protocol is expected.
    pub struct ProxyProtocolConfiguration {}

    /// What speeds up the private key.
    pub struct PrivateKeyProvider {
        /// CryptoMB.
        pub cryptomb: Option<CryptoMb>,
        /// QuickAssist.
        pub qat: Option<Qat>,
    }
    oneof provider: PrivateKeyAccelerator { cryptomb => CryptoMb(CryptoMb), qat => Qat(Qat) }

    /// CryptoMB.
    pub struct CryptoMb {
        /// How long operations are collected.
        pub poll_delay: Option<Duration>,
        /// Whether the CPU takes over if it is missing.
        pub fallback: Option<bool>,
    }

    /// QuickAssist.
    pub struct Qat {
        /// How long operations are collected.
        pub poll_delay: Option<Duration>,
        /// Whether the CPU takes over if it is missing.
        pub fallback: Option<bool>,
    }

    /// Which further statistics Envoy keeps.
    pub struct ProxyStatsMatcher {
        /// By their beginning.
        pub inclusion_prefixes: Vec<String>,
        /// By their end.
        pub inclusion_suffixes: Vec<String>,
        /// By expression.
        pub inclusion_regexps: Vec<String>,
    }

    /// Which headers the proxy adds.
    pub struct ProxyHeaders {
        /// What happens to `X-Forwarded-Client-Cert`.
        pub forwarded_client_cert: ForwardClientCertDetails,
        /// What stands in it.
        pub set_current_client_cert_details: Option<SetCurrentClientCertDetails>,
        /// `X-Request-Id`
        pub request_id: Option<SwitchableHeader>,
        /// `Server`
        pub server: Option<ServerHeader>,
        /// `X-Envoy-Attempt-Count`
        pub attempt_count: Option<SwitchableHeader>,
        /// `X-Envoy-*`
        pub envoy_debug_headers: Option<SwitchableHeader>,
        /// `X-Envoy-Peer-Metadata`
        pub metadata_exchange_headers: Option<MetadataExchangeHeaders>,
        /// Whether the case of names is kept.
        pub preserve_http1_header_case: Option<bool>,
        /// `X-Forwarded-Host`
        pub x_forwarded_host: Option<OptionalHeader>,
        /// `X-Forwarded-Port`
        pub x_forwarded_port: Option<OptionalHeader>,
    }

    /// A header that is added unless it is turned off.
    pub struct SwitchableHeader {
        /// Whether it is off.
        pub disabled: Option<bool>,
    }

    /// The header `Server`.
    pub struct ServerHeader {
        /// Whether it is off.
        pub disabled: Option<bool>,
        /// Empty means `istio-envoy`.
        pub value: String,
    }

    /// A header that is added if it is turned on.
    pub struct OptionalHeader {
        /// Whether it is on.
        pub enabled: Option<bool>,
    }

    /// Headers that tell the peer about the workload.
    pub struct MetadataExchangeHeaders {
        /// Who receives them.
        pub mode: MetadataExchangeMode,
    }

    /// What stands in `X-Forwarded-Client-Cert`.
    pub struct SetCurrentClientCertDetails {
        /// Unset means yes.
        pub subject: Option<bool>,
        /// The certificate.
        pub cert: Option<bool>,
        /// The chain.
        pub chain: Option<bool>,
        /// Unset means yes.
        pub dns: Option<bool>,
        /// Unset means yes.
        pub uri: Option<bool>,
    }

    /// Limits and timeouts of listeners; what is unset follows from the profile.
    pub struct ConnectionSettings {
        /// The set of defaults.
        pub profile: ConnectionProfile,
        /// Envoy's listener `per_connection_buffer_limit_bytes`.
        pub listener_per_connection_buffer_limit_bytes: Option<i32>,
        /// Envoy's cluster `per_connection_buffer_limit_bytes`.
        pub cluster_per_connection_buffer_limit_bytes: Option<i32>,
        /// Of connections.
        pub http_idle_timeout: Option<Duration>,
        /// Of connections.
        pub http_max_connection_duration: Option<Duration>,
        /// Of connections.
        pub http_drain_timeout: Option<Duration>,
        /// Of requests.
        pub http_request_timeout: Option<Duration>,
        /// Of the headers of requests.
        pub http_request_headers_timeout: Option<Duration>,
        /// Of streams.
        pub http_stream_idle_timeout: Option<Duration>,
        /// Of streams.
        pub http_max_stream_duration: Option<Duration>,
        /// Per connection of HTTP/2.
        pub http_max_concurrent_streams: Option<i32>,
        /// Of HTTP/2, in bytes.
        pub http2_initial_stream_window_size: Option<i32>,
        /// Of HTTP/2, in bytes.
        pub http2_initial_connection_window_size: Option<i32>,
        /// What happens to headers with `_`.
        pub http_headers_with_underscores_action: HeadersWithUnderscoresAction,
        /// Whether `//` in paths becomes `/`.
        pub http_merge_slashes: Option<bool>,
        /// What happens to `%2F` in paths.
        pub http_path_with_escaped_slashes_action: PathWithEscapedSlashesAction,
        /// Connections per listener.
        pub listener_connection_limit: Option<i32>,
        /// Connections per proxy.
        pub global_downstream_connection_limit: Option<i32>,
    }

    /// A service over gRPC.
    pub struct RemoteService {
        /// `host:port`
        pub address: String,
        /// TLS towards it.
        pub tls_settings: Option<ClientTlsSettings>,
        /// Keep-alive of the connection.
        pub tcp_keepalive: Option<TcpKeepalive>,
    }
}

enumeration! {
    /// Whether the agent uses mutual TLS towards the control plane.
    pub enum AuthenticationPolicy {
        /// No.
        None = "NONE",
        /// Yes.
        MutualTls = "MUTUAL_TLS",
        /// As the mesh says.
        Inherit = "INHERIT",
    }

    /// How the name in traces follows from the workload.
    pub enum TracingServiceName {
        /// `<app>.<namespace>`
        AppLabelAndNamespace = "APP_LABEL_AND_NAMESPACE",
        /// `<canonical name>`
        CanonicalNameOnly = "CANONICAL_NAME_ONLY",
        /// `<canonical name>.<namespace>`
        CanonicalNameAndNamespace = "CANONICAL_NAME_AND_NAMESPACE",
    }

    /// How traffic is redirected.
    pub enum InboundInterceptionMode {
        /// With a changed source address.
        Redirect = "REDIRECT",
        /// With the source address kept.
        Tproxy = "TPROXY",
        /// Not at all.
        None = "NONE",
    }

    /// What happens to `X-Forwarded-Client-Cert`.
    pub enum ForwardClientCertDetails {
        /// As the kind of proxy needs.
        Undefined = "UNDEFINED",
        /// Removed.
        Sanitize = "SANITIZE",
        /// Kept with mutual TLS.
        ForwardOnly = "FORWARD_ONLY",
        /// Extended with mutual TLS.
        AppendForward = "APPEND_FORWARD",
        /// Replaced.
        SanitizeSet = "SANITIZE_SET",
        /// Kept.
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY",
    }

    /// Who receives the headers about the workload.
    pub enum MetadataExchangeMode {
        /// Everyone.
        Undefined = "UNDEFINED",
        /// Only peers of the mesh.
        InMesh = "IN_MESH",
    }

    /// Sets of defaults for limits and timeouts.
    pub enum ConnectionProfile {
        /// For peers that are trusted.
        Sidecar = "SIDECAR",
        /// For clients that are not.
        Edge = "EDGE",
    }

    /// What happens to headers with `_`.
    pub enum HeadersWithUnderscoresAction {
        /// As the profile says.
        Unspecified = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED",
        /// They pass.
        Allow = "HEADERS_WITH_UNDERSCORES_ALLOW",
        /// The request is refused.
        RejectRequest = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
        /// They are removed.
        DropHeader = "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
    }

    /// What happens to `%2F` and the like in paths.
    pub enum PathWithEscapedSlashesAction {
        /// As the profile says.
        Unspecified = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED",
        /// It is kept.
        KeepUnchanged = "KEEP_UNCHANGED",
        /// The request is refused.
        RejectRequest = "REJECT_REQUEST",
        /// The client is redirected to the plain path.
        UnescapeAndRedirect = "UNESCAPE_AND_REDIRECT",
        /// It becomes `/`.
        UnescapeAndForward = "UNESCAPE_AND_FORWARD",
    }
}
