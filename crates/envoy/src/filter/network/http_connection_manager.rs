//! The filter that turns bytes into HTTP requests: Istio's `buildHTTPConnectionManager`.

use super::{
    connection_settings, proxy_headers,
    tracing::{TracingInputs, tracing},
};
use crate::filter::{
    network_filter,
    order::{HttpFilterPosition, http_filters},
};
use istio_api::mesh::{
    mesh_config::NormalizationType,
    proxy_config::{ConnectionSettings, ForwardClientCertDetails as ForwardClientCertificate, ProxyHeaders},
};
use std::time::Duration;
use xds_api::Wire;
use xds_api::envoy::config::accesslog::v3::AccessLog;
use xds_api::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, Http1ProtocolOptions, Http3ProtocolOptions, HttpProtocolOptions,
    config_source::ConfigSourceSpecifier,
};
use xds_api::envoy::config::listener::v3::Filter;
use xds_api::envoy::config::route::v3::RouteConfiguration;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, RequestIdExtension,
    http_connection_manager::{
        CodecType, ForwardClientCertDetails, PathWithEscapedSlashesAction, RouteSpecifier, SetCurrentClientCertDetails, UpgradeConfig,
    },
};
use xds_api::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;

/// The name of the filter.
pub const NAME: &str = "envoy.filters.network.http_connection_manager";

/// The `server` header of proxies that face clients.
const SERVER_NAME: &str = "istio-envoy";

/// Where the routes of an HTTP chain come from.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Routes<'a> {
    /// A route configuration of that name over ADS.
    Rds(&'a str),
    /// Part of the listener.
    Inline(&'a RouteConfiguration),
}

/// Which side of the proxy a listener serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To the workload beside a sidecar.
    Inbound,
    /// From the workload beside a sidecar.
    Outbound,
    /// Into a gateway.
    Gateway,
    /// Into a gateway, over HTTP/3.
    GatewayQuic,
}

impl Direction {
    /// Whether it leads into a gateway.
    fn is_gateway(self) -> bool {
        matches!(self, Self::Gateway | Self::GatewayQuic)
    }
}

/// What every HTTP chain of a proxy and direction has in common.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct HttpOptions {
    /// Access loggers, metrics among them.
    pub access_logs: Vec<AccessLog>,
    /// `None` where tracing is off (`MeshConfig.enableTracing`).
    pub tracing: Option<TracingInputs>,
    /// Node metadata `IDLE_TIMEOUT`; `None` is Envoy's hour.
    pub idle_timeout: Option<Duration>,
    /// Node metadata `HTTP10` or `PILOT_HTTP10`: answers HTTP/1.0.
    pub http10: bool,
    /// `PILOT_HTTP10`: HTTP/1.0 is also recognised where the protocol is sniffed. (In Istio the node metadata alone does not
    /// do that.)
    pub sniff_http10: bool,
    /// `MeshConfig.pathNormalization`.
    pub path_normalization: NormalizationType,
    /// Filters beside those that every chain has.
    pub filters: Vec<(HttpFilterPosition, HttpFilter)>,
    /// For gateways: `gatewayTopology.numTrustedProxies`.
    pub trusted_proxies: u32,
    /// For gateways: `gatewayTopology.forwardClientCertDetails`; undefined is SANITIZE_SET.
    pub forward_client_certificate: ForwardClientCertificate,
    /// `proxyHeaders`
    pub headers: Option<ProxyHeaders>,
    /// `connectionSettings`, resolved; for connections of clients that are not the workload.
    pub connection_settings: Option<ConnectionSettings>,
    /// `PILOT_SIDECAR_USE_REMOTE_ADDRESS`
    pub sidecar_use_remote_address: bool,
    /// Not `ENABLE_100_CONTINUE_HEADERS`: the proxy itself answers `Expect: 100-continue`.
    pub answers_100_continue: bool,
}

/// All that an HTTP connection manager depends on.
#[derive(Clone, Copy, Debug)]
pub struct HttpConnectionManagerInputs<'a> {
    /// The prefix of its statistics, without the closing `;`.
    pub stat_prefix: &'a str,
    /// Where its routes come from.
    pub routes: Routes<'a>,
    /// Which side of the proxy it serves.
    pub direction: Direction,
    /// Bridges gRPC-Web, for ports that are declared so.
    pub grpc_web: bool,
    /// An explicit HTTP proxy: clients send absolute URLs.
    pub http_proxy: bool,
    /// What is common to the proxy.
    pub options: &'a HttpOptions,
}

/// The HTTP connection manager.
pub fn http_connection_manager(inputs: &HttpConnectionManagerInputs<'_>) -> Filter {
    let options = inputs.options;
    let (certificate, set_certificate) = client_certificate(inputs.direction, options.forward_client_certificate);
    let websocket = UpgradeConfig { upgrade_type: "websocket".to_owned(), ..UpgradeConfig::default() };
    // The routers' own timeouts decide how long a stream may be silent.
    let mut manager = HttpConnectionManager {
        // The delimiter ends the prefix, so that the bootstrap's expressions can tell a name with dots from what follows.
        stat_prefix: format!("{};", inputs.stat_prefix),
        route_specifier: Some(route_specifier(inputs.routes)),
        http_filters: http_filters(inputs.grpc_web, hides_envoy_headers(options), &options.filters),
        tracing: options.tracing.as_ref().map(tracing),
        common_http_protocol_options: options
            .idle_timeout
            .map(|timeout| HttpProtocolOptions { idle_timeout: Some(timeout.into()), ..HttpProtocolOptions::default() }),
        http_protocol_options: http1_options(inputs),
        server_name: if inputs.direction == Direction::Outbound { String::new() } else { SERVER_NAME.to_owned() },
        stream_idle_timeout: Some(Duration::ZERO.into()),
        access_log: options.access_logs.clone(),
        // A sidecar must not replace what a gateway found out about the client.
        use_remote_address: Some((inputs.direction.is_gateway() || options.sidecar_use_remote_address).into()),
        xff_num_trusted_hops: if inputs.direction.is_gateway() { options.trusted_proxies } else { 0 },
        forward_client_cert_details: certificate.into(),
        set_current_client_cert_details: set_certificate,
        proxy_100_continue: !options.answers_100_continue,
        upgrade_configs: vec![websocket],
        request_id_extension: Some(request_id()),
        ..HttpConnectionManager::default()
    };
    normalize_path(&mut manager, options.path_normalization);
    if let Some(headers) = &options.headers {
        proxy_headers::apply(&mut manager, headers, inputs.direction != Direction::Outbound);
    }
    if let Some(settings) = options.connection_settings.as_ref().filter(|_| inputs.direction != Direction::Outbound) {
        connection_settings::apply(&mut manager, settings);
    }
    if inputs.direction == Direction::GatewayQuic {
        manager.codec_type = CodecType::Http3.into();
        manager.http3_protocol_options = Some(Http3ProtocolOptions::default());
    }
    network_filter(NAME, &manager)
}

/// `proxyHeaders.envoyDebugHeaders`: whether `x-envoy-…` headers are kept from others.
fn hides_envoy_headers(options: &HttpOptions) -> bool {
    let debug = options.headers.as_ref().and_then(|headers| headers.envoy_debug_headers.as_ref());
    debug.is_some_and(|header| header.disabled == Some(true))
}

/// Routes over ADS without a timeout: a listener waits for its routes instead of answering 404.
fn route_specifier(routes: Routes<'_>) -> RouteSpecifier {
    match routes {
        Routes::Inline(configuration) => RouteSpecifier::RouteConfig(configuration.clone()),
        Routes::Rds(name) => RouteSpecifier::Rds(Rds {
            config_source: Some(ConfigSource {
                initial_fetch_timeout: Some(Duration::ZERO.into()),
                resource_api_version: ApiVersion::V3.into(),
                config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
                ..ConfigSource::default()
            }),
            route_config_name: name.to_owned(),
        }),
    }
}

/// Gateways always have the message, empty if need be, as in Istio.
fn http1_options(inputs: &HttpConnectionManagerInputs<'_>) -> Option<Http1ProtocolOptions> {
    let http10 = inputs.options.http10 || inputs.options.sniff_http10;
    let wanted = http10 || inputs.http_proxy || inputs.direction.is_gateway();
    wanted.then(|| Http1ProtocolOptions {
        allow_absolute_url: inputs.http_proxy.then(|| true.into()),
        accept_http_10: http10,
        ..Http1ProtocolOptions::default()
    })
}

/// What becomes of `x-forwarded-client-cert`, and what is written into it.
fn client_certificate(
    direction: Direction,
    gateway: ForwardClientCertificate,
) -> (ForwardClientCertDetails, Option<SetCurrentClientCertDetails>) {
    let names = SetCurrentClientCertDetails { subject: Some(true.into()), dns: true, uri: true, ..SetCurrentClientCertDetails::default() };
    match direction {
        Direction::Outbound => (ForwardClientCertDetails::Sanitize, None),
        Direction::Inbound => (ForwardClientCertDetails::AppendForward, Some(names)),
        Direction::Gateway | Direction::GatewayQuic => {
            let mode = proxy_headers::forward(gateway).unwrap_or(ForwardClientCertDetails::SanitizeSet);
            (mode, Some(SetCurrentClientCertDetails { cert: true, ..names }))
        }
    }
}

/// `MeshConfig.pathNormalization` in Envoy's three switches.
fn normalize_path(manager: &mut HttpConnectionManager, normalization: NormalizationType) {
    let (normalize, merge, escaped) = match normalization {
        NormalizationType::None => (false, false, PathWithEscapedSlashesAction::KeepUnchanged),
        NormalizationType::Default | NormalizationType::Base => (true, false, PathWithEscapedSlashesAction::KeepUnchanged),
        NormalizationType::MergeSlashes => (true, true, PathWithEscapedSlashesAction::KeepUnchanged),
        NormalizationType::DecodeAndMergeSlashes => (true, true, PathWithEscapedSlashesAction::UnescapeAndForward),
    };
    manager.normalize_path = Some(normalize.into());
    manager.merge_slashes = merge;
    manager.path_with_escaped_slashes_action = escaped.into();
}

/// Request ids are random UUIDs, which also carry the decision to trace.
fn request_id() -> RequestIdExtension {
    let uuid = UuidRequestIdConfig { use_request_id_for_trace_sampling: Some(true.into()), ..UuidRequestIdConfig::default() };
    RequestIdExtension { typed_config: Some(uuid.to_any()) }
}
