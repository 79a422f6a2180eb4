//! Access logs in a file, in Istio's default formats or the user's (`accessLogFile`, `accessLogFormat`,
//! `accessLogEncoding`).

use base::Diagnostic;
use istio_api::mesh::mesh_config::AccessLogEncoding;
use serde_json::Value as Json;
use xds_api::{
    Wire,
    envoy::{
        config::{
            accesslog::v3::{AccessLog, AccessLogFilter, ResponseFlagFilter, access_log, access_log_filter::FilterSpecifier},
            core::v3::{
                DataSource, JsonFormatOptions, SubstitutionFormatString, TypedExtensionConfig, data_source,
                substitution_format_string::Format,
            },
        },
        extensions::{
            access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat},
            formatter::{cel::v3::Cel, metadata::v3::Metadata, req_without_query::v3::ReqWithoutQuery},
        },
    },
    google::protobuf::{Any, Struct, Value, value::Kind},
};

/// A line in Istio's default format.
const TEXT_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% ",
    "%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% ",
    "%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% ",
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
);

/// The same as JSON.
const JSON_FORMAT: [(&str, &str); 24] = [
    ("authority", "%REQ(:AUTHORITY)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("duration", "%DURATION%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route_name", "%ROUTE_NAME%"),
    ("start_time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
];

/// The mesh's settings of its access log.
#[derive(Clone, Copy, Debug)]
pub struct FileAccessLogInputs<'a> {
    /// `accessLogFile`, usually `/dev/stdout`.
    pub path: &'a str,
    /// `accessLogFormat`; empty for Istio's.
    pub format: &'a str,
    /// `accessLogEncoding`
    pub encoding: AccessLogEncoding,
}

/// The access log. A JSON format that is no JSON object is reported, and Istio's is used in its place.
pub fn file_access_log(inputs: &FileAccessLogInputs<'_>) -> (AccessLog, Option<Diagnostic>) {
    let (format, diagnostic) = match inputs.encoding {
        AccessLogEncoding::Text => (text_format(inputs.format), None),
        AccessLogEncoding::Json => json_format(inputs.format),
    };
    let file = FileAccessLog { path: inputs.path.to_string(), access_log_format: Some(AccessLogFormat::LogFormat(format)) };
    let config = Some(access_log::ConfigType::TypedConfig(file.to_any()));
    (AccessLog { name: "envoy.access_loggers.file".to_string(), filter: None, config_type: config }, diagnostic)
}

/// The same log for a listener itself, where it tells only of connections that no filter chain wanted; of all others the
/// chain's own log tells.
pub fn for_unmatched_connections(log: AccessLog) -> AccessLog {
    let flags = ResponseFlagFilter { flags: vec!["NR".to_string()] };
    AccessLog { filter: Some(AccessLogFilter { filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(flags)) }), ..log }
}

fn text_format(format: &str) -> SubstitutionFormatString {
    let mut text = if format.is_empty() { TEXT_FORMAT } else { format }.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let formatters = formatters(&text);
    let source = DataSource { specifier: Some(data_source::Specifier::InlineString(text)), ..Default::default() };
    SubstitutionFormatString { format: Some(Format::TextFormatSource(source)), formatters, ..Default::default() }
}

fn json_format(format: &str) -> (SubstitutionFormatString, Option<Diagnostic>) {
    let (fields, diagnostic) = match serde_json::from_str::<serde_json::Map<String, Json>>(format) {
        _ if format.is_empty() => (Struct::from_iter(JSON_FORMAT), None),
        Ok(fields) => (to_struct(fields), None),
        Err(error) => (Struct::from_iter(JSON_FORMAT), Some(no_json(&error))),
    };
    let string = SubstitutionFormatString {
        format: Some(Format::JsonFormat(fields)),
        json_format_options: Some(JsonFormatOptions::default()),
        formatters: formatters(format),
        ..Default::default()
    };
    (string, diagnostic)
}

fn no_json(error: &serde_json::Error) -> Diagnostic {
    let message = format!("is no JSON object ({error}); the default is used. Write an object, or set accessLogEncoding to TEXT");
    Diagnostic::error("AccessLogFormat", None, "accessLogFormat", message)
}

fn to_struct(fields: serde_json::Map<String, Json>) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key, to_value(value))).collect() }
}

fn to_value(value: Json) -> Value {
    match value {
        Json::Null => Value { kind: Some(Kind::NullValue(0)) },
        Json::Bool(value) => value.into(),
        Json::Number(number) => number.as_f64().unwrap_or_default().into(),
        Json::String(text) => text.into(),
        Json::Array(values) => values.into_iter().map(to_value).collect::<Vec<_>>().into(),
        Json::Object(fields) => to_struct(fields).into(),
    }
}

/// The extensions behind operators that are not Envoy's core, as far as `format` uses them.
fn formatters(format: &str) -> Vec<TypedExtensionConfig> {
    let known: [(&str, &str, Any); 3] = [
        ("%REQ_WITHOUT_QUERY", "envoy.formatter.req_without_query", ReqWithoutQuery::default().to_any()),
        ("%METADATA(", "envoy.formatter.metadata", Metadata::default().to_any()),
        ("%CEL(", "envoy.formatter.cel", Cel::default().to_any()),
    ];
    let used = known.into_iter().filter(|(operator, ..)| format.contains(operator));
    used.map(|(_, name, config)| TypedExtensionConfig { name: name.to_string(), typed_config: Some(config) }).collect()
}
