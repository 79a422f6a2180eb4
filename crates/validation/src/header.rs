//! Names and values of headers and the operations on them.

use crate::report::{Field, Report, each};
use istio_api::networking::virtual_service::{HeaderOperations, Headers};

/// Prefixes that route by a claim of a validated token instead of a header.
const CLAIM_PREFIX: &str = "@request.auth.claims";

/// Whether the name of a header match stands for a claim.
pub(crate) fn is_claim(name: &str) -> bool {
    name.strip_prefix(CLAIM_PREFIX).is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// Checks the name of a header in a match.
pub(crate) fn match_name(report: &mut Report, at: &Field<'_>, name: &str) {
    if name.is_empty() {
        report.error(at, "header name cannot be empty");
    } else if name.starts_with(CLAIM_PREFIX) && !is_claim(name) {
        report.error(at, format!("JWT claim based routing must have the form {CLAIM_PREFIX}.name or {CLAIM_PREFIX}[name], found {name}"));
    }
}

/// `Host` and `:authority`, which may be set (not added or removed).
pub(crate) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// Checks all changes of headers.
pub(crate) fn operations(report: &mut Report, at: &Field<'_>, headers: Option<&Headers>) {
    let Some(headers) = headers else { return };
    let at = at.key("headers");
    if let Some(request) = &headers.request {
        direction(report, &at.key("request"), request, true);
    }
    if let Some(response) = &headers.response {
        direction(report, &at.key("response"), response, false);
    }
}

fn direction(report: &mut Report, at: &Field<'_>, operations: &HeaderOperations, authority: bool) {
    for (operation, headers) in [("set", &operations.set), ("add", &operations.add)] {
        let at = at.key(operation);
        for (name, text) in headers {
            let at = at.key(name);
            operation_name(report, &at, name, authority);
            value(report, &at, text);
        }
    }
    each(report, at, "remove", &operations.remove, |report, at, name| operation_name(report, at, name, false));
}

fn operation_name(report: &mut Report, at: &Field<'_>, name: &str, authority: bool) {
    if name.is_empty() {
        report.error(at, "header name cannot be empty");
    } else if (name.starts_with(':') || name.eq_ignore_ascii_case("host")) && !(authority && is_authority(name)) {
        report.error(at, format!("header {name:?} cannot be changed here; use rewrite.authority for the host"));
    } else if !name.starts_with(':') && !name.bytes().all(is_token) {
        report.warning(at, format!("{name:?} is no name of a header, and no client or server takes it; use letters, digits and dashes"));
    }
}

/// Whether the byte may stand in a name (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Checks Envoy's format of values: `%NAME%` and `%NAME(arguments)%` are replaced, `%%` is a percent sign.
pub(crate) fn value(report: &mut Report, at: &Field<'_>, text: &str) {
    if let Some(error) = value_error(text) {
        report.error(at, format!("header value configuration: invalid header configuration. {error}; write %% for a percent sign"));
    }
}

/// The beginnings of Envoy's variables (its command operators). For an unknown one it would refuse all routes of the port,
/// not only the one with the header.
const COMMANDS: [&str; 41] = [
    "ACCESS_LOG_TYPE",
    "BYTES_",
    "CEL",
    "CLUSTER_METADATA",
    "COALESCE",
    "COMMON_DURATION",
    "CONNECTION_",
    "CUSTOM_FLAGS",
    "DOWNSTREAM_",
    "DURATION",
    "DYNAMIC_METADATA",
    "EMIT_TIME",
    "ENVIRONMENT",
    "FILE_CONTENT",
    "FILTER_",
    "GRPC_STATUS",
    "HOSTNAME",
    "LISTENER_",
    "LOCAL_REPLY_BODY",
    "METADATA",
    "PATH",
    "PER_REQUEST_STATE",
    "PROTOCOL",
    "QUERY_PARAM",
    "REQ",
    "RESP",
    "ROUNDTRIP_DURATION",
    "ROUTE_NAME",
    "SECRET",
    "SPAN_ID",
    "START_TIME",
    "STREAM_ID",
    "TLS_JA",
    "TRACE_ID",
    "TRAILER",
    "TYPED_CEL",
    "UNIQUE_ID",
    "UPSTREAM_",
    "VIRTUAL_CLUSTER_NAME",
    "VIRTUAL_HOST_NAME",
    "WORKER_ID",
];

fn value_error(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(escaped) = after.strip_prefix('%') {
            rest = escaped;
            continue;
        }
        if after.is_empty() {
            return Some("Un-escaped %".into());
        }
        let Some(end) = expression_end(after) else {
            return Some(format!("Un-terminated variable expression '{text}'"));
        };
        let command = after.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if !COMMANDS.iter().any(|known| command.starts_with(known)) {
            return Some(format!("Envoy has no variable '{command}'"));
        }
        rest = after.get(end..).unwrap_or_default();
    }
    None
}

/// The number of bytes of `NAME%`, `NAME(arguments)%` or `NAME(arguments):length%`.
fn expression_end(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (index, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '%' if depth == 0 => return Some(index + 1),
            _ => {}
        }
    }
    None
}
