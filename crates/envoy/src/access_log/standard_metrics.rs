//! Istio's standard metrics (`istio_requests_total` and its kin) from a logger of stock Envoy, so that Istio's dashboards
//! work without Istio's own filter.

use super::{
    labels::{Label, WorkloadLabels, standard_labels},
    rules::rule,
};
use xds_api::{
    Wire,
    envoy::{
        config::accesslog::v3::{AccessLog, AccessLogFilter, LogTypeFilter, access_log, access_log_filter::FilterSpecifier},
        data::accesslog::v3::AccessLogType,
        extensions::access_loggers::stats::v3::{
            Config,
            config::{Counter, Histogram, Stat, Tag, histogram::Unit},
        },
        r#type::v3::Scope,
    },
};

/// The prefix of the metrics' names. Envoy itself puts `envoy_` before it on its Prometheus page.
const PREFIX: &str = "istio";

/// Which side of a request tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reporter {
    /// The client's sidecar or a gateway.
    Source,
    /// The server's sidecar.
    Destination,
}

impl Reporter {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// What the metrics are about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MetricsProtocol {
    /// Requests, also of gRPC.
    Http,
    /// Connections.
    Tcp,
}

/// What the loggers of one chain depend on.
#[derive(Clone, Copy, Debug)]
pub struct StandardMetricsInputs<'a> {
    /// The side.
    pub reporter: Reporter,
    /// Of the chain.
    pub protocol: MetricsProtocol,
    /// Who reports.
    pub own: WorkloadLabels<'a>,
}

/// The loggers that count. Those of TCP need `access_log_options.flush_access_log_on_connected` of the TCP proxy, without
/// which connections are counted as closed only.
pub fn standard_metrics(inputs: &StandardMetricsInputs<'_>) -> Vec<AccessLog> {
    let tags: Vec<_> = standard_labels(inputs.reporter, inputs.protocol, &inputs.own).into_iter().map(tag).collect();
    match inputs.protocol {
        MetricsProtocol::Http => vec![logger(http_metrics(&tags), None)],
        MetricsProtocol::Tcp => vec![
            logger(tcp_opened(&tags), Some(AccessLogType::TcpUpstreamConnected)),
            logger(tcp_closed(&tags), Some(AccessLogType::TcpConnectionEnd)),
        ],
    }
}

fn http_metrics(tags: &[Tag]) -> Config {
    Config {
        counters: vec![count("requests_total", tags)],
        histograms: vec![
            histogram("request_duration_milliseconds", Unit::Milliseconds, "%DURATION%", tags),
            histogram("request_bytes", Unit::Bytes, "%DOWNSTREAM_WIRE_BYTES_RECEIVED%", tags),
            histogram("response_bytes", Unit::Bytes, "%DOWNSTREAM_WIRE_BYTES_SENT%", tags),
        ],
        ..Default::default()
    }
}

fn tcp_opened(tags: &[Tag]) -> Config {
    Config { counters: vec![count("tcp_connections_opened_total", tags)], ..Default::default() }
}

fn tcp_closed(tags: &[Tag]) -> Config {
    Config {
        counters: vec![
            count("tcp_connections_closed_total", tags),
            add("tcp_sent_bytes_total", "%BYTES_SENT%", tags),
            add("tcp_received_bytes_total", "%BYTES_RECEIVED%", tags),
        ],
        ..Default::default()
    }
}

fn count(name: &str, tags: &[Tag]) -> Counter {
    Counter { stat: Some(stat(name, tags)), value_fixed: Some(1.into()), value_format: String::new() }
}

fn add(name: &str, operator: &str, tags: &[Tag]) -> Counter {
    Counter { stat: Some(stat(name, tags)), value_format: operator.to_string(), value_fixed: None }
}

fn histogram(name: &str, unit: Unit, operator: &str, tags: &[Tag]) -> Histogram {
    Histogram { stat: Some(stat(name, tags)), unit: unit.into(), value_format: operator.to_string() }
}

fn stat(name: &str, tags: &[Tag]) -> Stat {
    Stat { name: name.to_string(), tags: tags.to_vec() }
}

fn tag(label: Label) -> Tag {
    Tag { name: label.name, value_format: label.value, rules: rule(label.change) }
}

/// A logger for one kind of entry, or for all. The scope is shared by all loggers of a proxy, so that a changed listener
/// does not begin at 0.
fn logger(metrics: Config, kind: Option<AccessLogType>) -> AccessLog {
    let scope = Scope { prefix: PREFIX.to_string(), sharing_name: PREFIX.to_string(), ..Default::default() };
    let config = Config { stats_scope: Some(scope), ..metrics };
    let filter = kind.map(|kind| {
        let types = LogTypeFilter { types: vec![kind.into()], exclude: false };
        AccessLogFilter { filter_specifier: Some(FilterSpecifier::LogTypeFilter(types)) }
    });
    let config_type = Some(access_log::ConfigType::TypedConfig(config.to_any()));
    AccessLog { name: "envoy.access_loggers.stats".to_string(), filter, config_type }
}
