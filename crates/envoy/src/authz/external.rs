//! The filters that ask an external authorizer (Istio's `authz/builder/extauthz.go`).

use super::inputs::Authorizer;
use super::text;
use crate::filter::{http, network};
use istio_api::Duration;
use istio_api::mesh::extension_provider::EnvoyExternalAuthorizationRequestBody;
use xds_api::envoy::config::core::v3::{
    ApiVersion, GrpcService, HeaderValue, HttpUri,
    grpc_service::{EnvoyGrpc, TargetSpecifier},
    http_uri::HttpUpstreamType,
};
use xds_api::envoy::config::listener::v3::Filter;
use xds_api::envoy::extensions::filters::{
    http::ext_authz::v3::{AuthorizationRequest, AuthorizationResponse, BufferSettings, ExtAuthz, HttpService, ext_authz::Services},
    network::{ext_authz::v3::ExtAuthz as TcpExtAuthz, http_connection_manager::v3::HttpFilter},
};
use xds_api::envoy::r#type::{
    matcher::v3::{
        ListStringMatcher, MetadataMatcher, StringMatcher, ValueMatcher,
        metadata_matcher::{PathSegment, path_segment},
        value_matcher::MatchPattern,
    },
    v3::HttpStatus,
};

/// How long an authorizer may take that sets no timeout: Envoy asks for one, and the one that counts is usually that of a
/// DestinationRule.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Whether the rules before the filter have left a policy of this provider as the one that matched.
pub fn asked_for(filter: &str, key: &str, prefix: &str) -> MetadataMatcher {
    MetadataMatcher {
        filter: filter.to_owned(),
        path: vec![PathSegment { segment: Some(path_segment::Segment::Key(key.to_owned())) }],
        value: Some(ValueMatcher { match_pattern: Some(MatchPattern::StringMatch(text::prefix(prefix))) }),
        invert: false,
    }
}

/// The filter of HTTP chains.
pub fn http(authorizer: &Authorizer<'_>, asked_for: MetadataMatcher) -> HttpFilter {
    let common = ExtAuthz { transport_api_version: ApiVersion::V3.into(), filter_enabled_metadata: Some(asked_for), ..ExtAuthz::default() };
    let status = |code: Option<u16>| code.map(|code| HttpStatus { code: code.into() });
    http::ext_authz::ext_authz(&match authorizer {
        Authorizer::Http { settings, hostname, cluster, status_on_error } => {
            let included = &settings.include_request_headers_in_check;
            let included = if included.is_empty() { &settings.include_headers_in_check } else { included };
            let added = settings.include_additional_headers_in_check.iter();
            let headers_to_add: Vec<_> =
                added.map(|(key, value)| HeaderValue { key: key.clone(), value: value.clone(), ..HeaderValue::default() }).collect();
            let response = AuthorizationResponse {
                allowed_upstream_headers: headers(&settings.headers_to_upstream_on_allow),
                allowed_client_headers: headers(&settings.headers_to_downstream_on_deny),
                allowed_client_headers_on_success: headers(&settings.headers_to_downstream_on_allow),
                ..AuthorizationResponse::default()
            };
            let service = HttpService {
                server_uri: Some(HttpUri {
                    uri: format!("http://{hostname}"),
                    timeout: Some(settings.timeout.unwrap_or(TIMEOUT).0.into()),
                    http_upstream_type: Some(HttpUpstreamType::Cluster(cluster.clone())),
                }),
                path_prefix: settings.path_prefix.clone(),
                authorization_request: (!headers_to_add.is_empty())
                    .then(|| AuthorizationRequest { headers_to_add, ..AuthorizationRequest::default() }),
                authorization_response: (response != AuthorizationResponse::default()).then_some(response),
                ..HttpService::default()
            };
            ExtAuthz {
                status_on_error: status(*status_on_error),
                failure_mode_allow: settings.fail_open,
                clear_route_cache: settings.clear_route_cache,
                with_request_body: settings.include_request_body_in_check.as_ref().and_then(body),
                allowed_headers: headers(included),
                services: Some(Services::HttpService(service)),
                ..common
            }
        }
        Authorizer::Grpc { settings, hostname, cluster, status_on_error } => ExtAuthz {
            status_on_error: status(*status_on_error),
            failure_mode_allow: settings.fail_open,
            clear_route_cache: settings.clear_route_cache,
            with_request_body: settings.include_request_body_in_check.as_ref().and_then(body),
            services: Some(Services::GrpcService(grpc_service(hostname, cluster, settings.timeout))),
            ..common
        },
    })
}

/// The filter of TCP chains; an authorizer over HTTP has none.
pub fn tcp(authorizer: &Authorizer<'_>, asked_for: MetadataMatcher) -> Option<Filter> {
    let Authorizer::Grpc { settings, hostname, cluster, .. } = authorizer else { return None };
    Some(network::ext_authz::ext_authz(&TcpExtAuthz {
        stat_prefix: network::rbac::STAT_PREFIX.to_owned(),
        grpc_service: Some(grpc_service(hostname, cluster, settings.timeout)),
        failure_mode_allow: settings.fail_open,
        transport_api_version: ApiVersion::V3.into(),
        filter_enabled_metadata: Some(asked_for),
        ..TcpExtAuthz::default()
    }))
}

/// The name of the cluster is no authority, so the host name takes its place.
fn grpc_service(hostname: &str, cluster: &str, timeout: Option<Duration>) -> GrpcService {
    let target = EnvoyGrpc { cluster_name: cluster.to_owned(), authority: hostname.to_owned(), ..EnvoyGrpc::default() };
    GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)),
        timeout: Some(timeout.unwrap_or(TIMEOUT).0.into()),
        ..GrpcService::default()
    }
}

/// Envoy refuses a buffer of no size.
fn body(settings: &EnvoyExternalAuthorizationRequestBody) -> Option<BufferSettings> {
    (settings.max_request_bytes > 0).then_some(BufferSettings {
        max_request_bytes: settings.max_request_bytes,
        allow_partial_message: settings.allow_partial_message,
        pack_as_bytes: settings.pack_as_bytes,
    })
}

/// Names, `x*` and `*x`, without regard to case.
fn headers(names: &[String]) -> Option<ListStringMatcher> {
    let patterns: Vec<_> = names.iter().map(|name| StringMatcher { ignore_case: true, ..text::pattern(name) }).collect();
    (!patterns.is_empty()).then_some(ListStringMatcher { patterns })
}
