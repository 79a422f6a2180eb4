//! Which headers a proxy adds of its own accord (`ProxyConfig.proxyHeaders`; Istio's `GetProxyHeadersFromProxyConfig`).

use istio_api::mesh::proxy_config::{ForwardClientCertDetails as Forward, ProxyHeaders};
use xds_api::Wire;
use xds_api::envoy::config::core::v3::{
    Http1ProtocolOptions, TypedExtensionConfig,
    http1_protocol_options::{HeaderKeyFormat, header_key_format::HeaderFormat},
};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager,
    http_connection_manager::{ForwardClientCertDetails, ServerHeaderTransformation, SetCurrentClientCertDetails},
};
use xds_api::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;

/// Lays the user's choices over what the direction has set already.
pub(super) fn apply(manager: &mut HttpConnectionManager, headers: &ProxyHeaders, is_server: bool) {
    if let Some(server) = &headers.server {
        if server.disabled == Some(true) {
            manager.server_name = String::new();
            manager.set_server_header_transformation(ServerHeaderTransformation::PassThrough);
        } else if !server.value.is_empty() {
            manager.server_name.clone_from(&server.value);
        }
    }
    if headers.request_id.as_ref().is_some_and(|header| header.disabled == Some(true)) {
        manager.generate_request_id = Some(false.into());
    }
    if headers.preserve_http1_header_case == Some(true) {
        manager.http_protocol_options.get_or_insert_default().header_key_format = Some(preserve_case());
    }
    if headers.x_forwarded_port.as_ref().is_some_and(|header| header.enabled == Some(true)) {
        manager.append_x_forwarded_port = true;
    }
    if is_server {
        if let Some(details) = &headers.set_current_client_cert_details {
            manager.set_current_client_cert_details = Some(SetCurrentClientCertDetails {
                subject: details.subject.map(Into::into),
                cert: details.cert.unwrap_or_default(),
                chain: details.chain.unwrap_or_default(),
                dns: details.dns.unwrap_or(true),
                uri: details.uri.unwrap_or(true),
                ..SetCurrentClientCertDetails::default()
            });
        }
        if let Some(details) = forward(headers.forwarded_client_cert) {
            manager.set_forward_client_cert_details(details);
        }
    }
}

/// Envoy's form; `None` where nothing is said.
pub(super) fn forward(details: Forward) -> Option<ForwardClientCertDetails> {
    Some(match details {
        Forward::Undefined => return None,
        Forward::Sanitize => ForwardClientCertDetails::Sanitize,
        Forward::ForwardOnly => ForwardClientCertDetails::ForwardOnly,
        Forward::AppendForward => ForwardClientCertDetails::AppendForward,
        Forward::SanitizeSet => ForwardClientCertDetails::SanitizeSet,
        Forward::AlwaysForwardOnly => ForwardClientCertDetails::AlwaysForwardOnly,
    })
}

/// Names of headers in HTTP/1 are sent as they came, not in lower case.
pub fn preserve_case() -> HeaderKeyFormat {
    let formatter =
        TypedExtensionConfig { name: "preserve_case".to_owned(), typed_config: Some(PreserveCaseFormatterConfig::default().to_any()) };
    HeaderKeyFormat { header_format: Some(HeaderFormat::StatefulFormatter(formatter)) }
}

/// The options of HTTP/1 towards upstreams that keep the case of names.
pub fn http1_options(preserves_case: bool) -> Http1ProtocolOptions {
    Http1ProtocolOptions { header_key_format: preserves_case.then(preserve_case), ..Http1ProtocolOptions::default() }
}
