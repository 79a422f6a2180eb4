//! TLS contexts of clusters and listeners, the names under which Envoy asks for certificates, and the secrets themselves.
//!
//! Read first: `source.rs`, where a secret comes from; then `upstream.rs` and `downstream.rs`.

mod downstream;
mod parameters;
mod secret;
mod source;
mod upstream;

pub use downstream::{DownstreamAlpn, DownstreamMtlsInputs, ServerTlsInputs, downstream_mtls, gateway_server_tls};
pub use secret::{CertificateSecret, SecretNames, ca_secret, file_secret, files_of, needs_agent, secret};
pub use source::{
    CertificateFiles, CredentialSource, ROOT_CERTIFICATE, SDS_CLUSTER, SDS_EXTERNAL_CLUSTER, WORKLOAD_CERTIFICATE, ads_secret_config,
    credential_resource_name, credential_secret_config, file_certificate_name, file_root_name, file_secret_config, workload_secret_config,
};
pub use upstream::{UserTlsInputs, istio_mutual, user_tls};

use xds_api::envoy::config::core::v3::{TransportSocket, transport_socket};
use xds_api::envoy::extensions::transport_sockets::quic::v3::QuicDownstreamTransport;
use xds_api::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use xds_api::google::protobuf::Any;
use xds_api::{
    Wire,
    envoy::extensions::transport_sockets::tls::v3::{DownstreamTlsContext, UpstreamTlsContext},
};

/// The name under which Envoy knows TLS transport sockets.
pub const TLS_TRANSPORT_SOCKET: &str = "envoy.transport_sockets.tls";

/// A transport socket around a packed configuration.
pub(crate) fn transport_socket(name: &str, configuration: Any) -> TransportSocket {
    TransportSocket { name: name.to_owned(), config_type: Some(transport_socket::ConfigType::TypedConfig(configuration)) }
}

/// Plain text.
pub fn raw_buffer() -> TransportSocket {
    transport_socket("envoy.transport_sockets.raw_buffer", RawBuffer::default().to_any())
}

/// TLS towards an upstream.
pub fn upstream_transport_socket(context: &UpstreamTlsContext) -> TransportSocket {
    transport_socket(TLS_TRANSPORT_SOCKET, context.to_any())
}

/// mTLS of HBONE's outer connection; the name of the socket is Istio's.
pub(crate) fn hbone_transport_socket(trust_domain: &str) -> TransportSocket {
    transport_socket("tls", upstream::hbone(trust_domain).to_any())
}

/// TLS of a filter chain of HTTP/3.
pub fn quic_transport_socket(context: DownstreamTlsContext) -> TransportSocket {
    let quic = QuicDownstreamTransport { downstream_tls_context: Some(context), ..QuicDownstreamTransport::default() };
    transport_socket("envoy.transport_sockets.quic", quic.to_any())
}

/// TLS of a filter chain.
pub fn downstream_transport_socket(context: &DownstreamTlsContext) -> TransportSocket {
    transport_socket(TLS_TRANSPORT_SOCKET, context.to_any())
}

#[cfg(test)]
mod tests;
