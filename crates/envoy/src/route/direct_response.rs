//! Fixed answers.

use istio_api::networking::virtual_service::{HttpBody, HttpBodyContent, HttpDirectResponse};
use xds_api::envoy::config::{
    core::v3::{DataSource, data_source::Specifier},
    route::v3::DirectResponseAction,
};

/// A fixed answer of the user's.
pub(super) fn direct_response_action(response: &HttpDirectResponse) -> DirectResponseAction {
    let content = response.body.as_ref().and_then(HttpBody::content).map(|content| match content {
        HttpBodyContent::String(text) => Specifier::InlineString(text.to_string()),
        HttpBodyContent::Bytes(bytes) => Specifier::InlineBytes(bytes.0.clone()),
    });
    let body = content.map(|specifier| DataSource { specifier: Some(specifier), ..Default::default() });
    DirectResponseAction { status: response.status, body, ..Default::default() }
}

/// An answer without body.
pub(super) fn status_only(status: u32) -> DirectResponseAction {
    DirectResponseAction { status, ..Default::default() }
}
