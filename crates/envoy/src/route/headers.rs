//! Changes of request and response headers (Istio's `TranslateHeadersOperations`).

use istio_api::networking::virtual_service::{HeaderOperations, Headers};
use std::collections::BTreeMap;
use xds_api::envoy::config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction};

/// The changes of one route or of one weighted cluster in Envoy's form.
#[derive(Default)]
pub(super) struct HeaderChanges {
    pub request_headers_to_add: Vec<HeaderValueOption>,
    pub request_headers_to_remove: Vec<String>,
    pub response_headers_to_add: Vec<HeaderValueOption>,
    pub response_headers_to_remove: Vec<String>,
    /// A new authority: Envoy does not change it as a header, but by a rewrite of the host.
    pub authority: Option<String>,
}

impl HeaderChanges {
    /// `set` before `add`, each ordered by name.
    pub fn new(headers: Option<&Headers>) -> Self {
        let request = headers.and_then(|headers| headers.request.as_ref());
        let response = headers.and_then(|headers| headers.response.as_ref());
        Self {
            request_headers_to_add: request.map(additions).unwrap_or_default(),
            request_headers_to_remove: request.map(removals).unwrap_or_default(),
            response_headers_to_add: response.map(additions).unwrap_or_default(),
            response_headers_to_remove: response.map(removals).unwrap_or_default(),
            authority: request.and_then(|request| authority(&request.set).or_else(|| authority(&request.add))),
        }
    }
}

fn additions(operations: &HeaderOperations) -> Vec<HeaderValueOption> {
    options(&operations.set, HeaderAppendAction::OverwriteIfExistsOrAdd)
        .chain(options(&operations.add, HeaderAppendAction::AppendIfExistsOrAdd))
        .collect()
}

fn options(pairs: &BTreeMap<String, String>, action: HeaderAppendAction) -> impl Iterator<Item = HeaderValueOption> {
    pairs.iter().filter(|(key, _)| !is_internal(key)).map(move |(key, value)| HeaderValueOption {
        header: Some(HeaderValue { key: key.clone(), value: value.clone(), ..Default::default() }),
        append_action: action.into(),
        ..Default::default()
    })
}

fn removals(operations: &HeaderOperations) -> Vec<String> {
    operations.remove.iter().filter(|key| !is_internal(key)).cloned().collect()
}

/// The last of `:authority` and `host` by name, if it is not empty.
fn authority(pairs: &BTreeMap<String, String>) -> Option<String> {
    let named = pairs.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(":authority") || key.eq_ignore_ascii_case("host"));
    named.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
}

/// Headers that Envoy refuses to change; one of them would make it refuse the whole route configuration.
fn is_internal(key: &str) -> bool {
    key.starts_with(':') || key.eq_ignore_ascii_case("host")
}
