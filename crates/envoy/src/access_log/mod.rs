//! Access logs: lines in a file for people, and counters and histograms for Prometheus.
//!
//! In: the settings of the mesh. Out: Envoy's access loggers. Never: which proxies or listeners log.
//! Read first: `file.rs`; `standard_metrics.rs` has Istio's standard metrics without Istio's own Envoy.

mod file;
mod labels;
mod rules;
mod standard_metrics;

pub use file::{FileAccessLogInputs, file_access_log, for_unmatched_connections};
pub use labels::{PEER_METADATA_KEYS, PEER_METADATA_NAMESPACE, SERVICE_METADATA_NAMESPACE, WorkloadLabels};
pub use standard_metrics::{MetricsProtocol, Reporter, StandardMetricsInputs, standard_metrics};

#[cfg(test)]
mod tests;
