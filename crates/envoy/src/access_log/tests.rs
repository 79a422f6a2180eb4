use super::*;
use istio_api::mesh::mesh_config::AccessLogEncoding;
use serde_json::{Value, json};
use xds_api::{Wire, envoy::config::accesslog::v3::AccessLog};

fn to_json(log: &AccessLog) -> Value {
    xds_wire::json::to_json(AccessLog::TYPE_URL, &log.to_bytes()).unwrap()
}

fn file(format: &str, encoding: AccessLogEncoding) -> (Value, Option<base::Diagnostic>) {
    let (log, diagnostic) = file_access_log(&FileAccessLogInputs { path: "/dev/stdout", format, encoding });
    (to_json(&log)["typed_config"]["log_format"].clone(), diagnostic)
}

#[test]
fn text_lines_end_and_bring_the_formatters_they_use() {
    let (format, _) = file("%CEL(request.path)% %DURATION%", AccessLogEncoding::Text);
    assert_eq!(format["text_format_source"], json!({ "inline_string": "%CEL(request.path)% %DURATION%\n" }));
    assert_eq!(format["formatters"].as_array().map(Vec::len), Some(1));
    let (format, _) = file("", AccessLogEncoding::Text);
    let text = format["text_format_source"]["inline_string"].as_str().unwrap();
    assert!(text.starts_with("[%START_TIME%] \"%REQ(:METHOD)%") && text.ends_with("%ROUTE_NAME%\n"));
    assert_eq!(format["formatters"], Value::Null);
}

#[test]
fn json_lines_are_the_users_or_the_defaults() {
    let (format, diagnostic) = file(r#"{"a": {"b": ["%DURATION%", 1, true, null]}}"#, AccessLogEncoding::Json);
    assert_eq!((format["json_format"].clone(), diagnostic), (json!({ "a": { "b": ["%DURATION%", 1, true, null] } }), None));
    assert_eq!(format["json_format_options"], json!({}));
    let (format, diagnostic) = file("[%START_TIME%]", AccessLogEncoding::Json);
    assert_eq!(format["json_format"]["route_name"], "%ROUTE_NAME%");
    assert_eq!(diagnostic.unwrap().field, "accessLogFormat");
}

#[test]
fn a_listener_logs_only_connections_without_chain() {
    let (log, _) = file_access_log(&FileAccessLogInputs { path: "/dev/stdout", format: "", encoding: AccessLogEncoding::Text });
    assert_eq!(to_json(&for_unmatched_connections(log))["filter"], json!({ "response_flag_filter": { "flags": ["NR"] } }));
}

/// Istio's own list of labels (its metrics reference).
const LABELS: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "source_canonical_service",
    "source_canonical_revision",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "destination_canonical_service",
    "destination_canonical_revision",
    "request_protocol",
    "response_code",
    "response_flags",
    "connection_security_policy",
    "grpc_response_status",
];

#[test]
fn every_standard_metric_has_every_standard_label() {
    let mut names = Vec::new();
    for reporter in [Reporter::Source, Reporter::Destination] {
        for (protocol, missing) in [(MetricsProtocol::Http, vec![]), (MetricsProtocol::Tcp, vec!["response_code", "grpc_response_status"])]
        {
            let mut wanted: Vec<_> = LABELS.into_iter().filter(|label| !missing.contains(label)).collect();
            wanted.sort_unstable();
            for log in standard_metrics(&StandardMetricsInputs { reporter, protocol, own: WorkloadLabels::default() }) {
                let config = to_json(&log)["typed_config"].clone();
                for metric in ["counters", "histograms"].iter().filter_map(|kind| config[kind].as_array()).flatten() {
                    let tags = metric["stat"]["tags"].as_array().unwrap();
                    let mut labels: Vec<_> = tags.iter().filter_map(|tag| tag["name"].as_str()).collect();
                    labels.sort_unstable();
                    assert_eq!(labels, wanted, "{}", metric["stat"]["name"]);
                    names.push(metric["stat"]["name"].as_str().unwrap().to_string());
                }
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names,
        [
            "request_bytes",
            "request_duration_milliseconds",
            "requests_total",
            "response_bytes",
            "tcp_connections_closed_total",
            "tcp_connections_opened_total",
            "tcp_received_bytes_total",
            "tcp_sent_bytes_total"
        ]
    );
}
