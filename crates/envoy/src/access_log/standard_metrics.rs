//! Istio's standard metrics (`istio_requests_total` and its kin) from a logger of stock Envoy, so that Istio's dashboards
//! work without Istio's own filter.

use super::labels::{Label, standard_labels};
use std::collections::BTreeMap;
use xds_api::{
    Wire,
    envoy::{
        config::accesslog::v3::{AccessLog, AccessLogFilter, LogTypeFilter, access_log, access_log_filter::FilterSpecifier},
        data::accesslog::v3::AccessLogType,
        extensions::{
            access_loggers::stats::v3::{
                Config,
                config::{Counter, Histogram, Stat, Tag, histogram::Unit},
            },
            matching::{
                actions::transform_stat::v3::{TransformStat, transform_stat::UpdateTag},
                common_inputs::stats::v3::StatTagValueInput,
            },
        },
        r#type::v3::Scope,
    },
    xds::{
        core::v3::TypedExtensionConfig,
        r#type::matcher::v3::{
            Matcher,
            matcher::{
                MatcherTree, MatcherType, OnMatch,
                matcher_tree::{MatchMap, TreeType},
                on_match,
            },
        },
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

/// The loggers that count. Those of TCP need `access_log_options.flush_access_log_on_connected` of the TCP proxy, without
/// which connections are counted as closed only.
pub fn standard_metrics(reporter: Reporter, protocol: MetricsProtocol) -> Vec<AccessLog> {
    let tags: Vec<_> = standard_labels(reporter, protocol).into_iter().map(tag).collect();
    match protocol {
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
            histogram("request_bytes", Unit::Bytes, "%CEL(request.total_size)%", tags),
            histogram("response_bytes", Unit::Bytes, "%CEL(response.total_size)%", tags),
        ],
        ..Default::default()
    }
}

fn tcp_opened(tags: &[Tag]) -> Config {
    Config { counters: vec![count("tcp_connections_opened_total", tags)], ..Default::default() }
}

fn tcp_closed(tags: &[Tag]) -> Config {
    let bytes = |name, operator: &str| Counter { stat: Some(stat(name, tags)), value_format: operator.to_string(), value_fixed: None };
    Config {
        counters: vec![
            count("tcp_connections_closed_total", tags),
            bytes("tcp_sent_bytes_total", "%BYTES_SENT%"),
            bytes("tcp_received_bytes_total", "%BYTES_RECEIVED%"),
        ],
        ..Default::default()
    }
}

fn count(name: &str, tags: &[Tag]) -> Counter {
    Counter { stat: Some(stat(name, tags)), value_fixed: Some(1.into()), value_format: String::new() }
}

fn histogram(name: &str, unit: Unit, operator: &str, tags: &[Tag]) -> Histogram {
    Histogram { stat: Some(stat(name, tags)), unit: unit.into(), value_format: operator.to_string() }
}

fn stat(name: &str, tags: &[Tag]) -> Stat {
    Stat { name: name.to_string(), tags: tags.to_vec() }
}

fn tag(label: Label) -> Tag {
    Tag { name: label.name, value_format: label.value, rules: label.unknown_if_empty.then(unknown_if_empty) }
}

/// Istio's word for what is not known.
fn unknown_if_empty() -> Matcher {
    let extension = |name: &str, config| TypedExtensionConfig { name: name.to_string(), typed_config: Some(config) };
    let update = TransformStat { update_tag: Some(UpdateTag { new_tag_value: "unknown".to_string() }), ..Default::default() };
    let action = OnMatch { on_match: Some(on_match::OnMatch::Action(extension("unknown", update.to_any()))), ..Default::default() };
    let tree = MatcherTree {
        input: Some(extension("envoy.matching.common_inputs.stats_tag_value", StatTagValueInput {}.to_any())),
        tree_type: Some(TreeType::ExactMatchMap(MatchMap { map: BTreeMap::from([(String::new(), action)]) })),
    };
    Matcher { matcher_type: Some(MatcherType::MatcherTree(tree)), on_no_match: None }
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
