//! The protocols that a request offers in the handshake with another sidecar, which thereby knows that HTTP of the mesh
//! comes, even on a port that says nothing of its protocol. Istio's own Envoy has a filter for it (`istio.alpn`); stock Envoy
//! takes them from filter state.

use crate::filter::http_filter;
use xds_api::envoy::{
    config::core::v3::{DataSource, SubstitutionFormatString, data_source::Specifier, substitution_format_string::Format},
    extensions::filters::{
        common::set_filter_state::v3::{
            FilterStateValue,
            filter_state_value::{Key, SharedWithUpstream, Value},
        },
        http::set_filter_state::v3::Config,
        network::http_connection_manager::v3::HttpFilter,
    },
};

/// The field of a cluster's metadata `istio` that says how it speaks to sidecars; clusters without it keep what their
/// transport socket says.
pub const CLUSTER_METADATA: &str = "alpn";

/// What a cluster speaks to sidecars.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpstreamProtocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
    /// What the client speaks.
    Downstream,
}

impl UpstreamProtocol {
    /// The value of [`CLUSTER_METADATA`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Downstream => "downstream",
        }
    }
}

/// The key by which Envoy's transport sockets find the protocols.
const KEY: &str = "envoy.network.application_protocols";

/// Evaluates to nothing, without effect, for a cluster without the field. Istio's names come first, so that the chains of
/// inbound listeners can tell; the last one is what the server agrees to.
const EXPRESSION: &str = concat!(
    "%CEL(xds.cluster_metadata.filter_metadata.istio.alpn == 'http2' || ",
    "(xds.cluster_metadata.filter_metadata.istio.alpn == 'downstream' && request.protocol == 'HTTP/2') ",
    "? 'istio-h2,istio,h2' : 'istio-http/1.1,istio,http/1.1')%"
);

/// The filter.
pub fn upstream_alpn() -> HttpFilter {
    let text = DataSource { specifier: Some(Specifier::InlineString(EXPRESSION.to_owned())), ..DataSource::default() };
    let format = SubstitutionFormatString {
        omit_empty_values: true,
        format: Some(Format::TextFormatSource(text)),
        ..SubstitutionFormatString::default()
    };
    let value = FilterStateValue {
        key: Some(Key::ObjectKey(KEY.to_owned())),
        value: Some(Value::FormatString(format)),
        skip_if_empty: true,
        shared_with_upstream: SharedWithUpstream::Once.into(),
        ..FilterStateValue::default()
    };
    http_filter("envoy.filters.http.set_filter_state", &Config { on_request_headers: vec![value], ..Config::default() })
}
