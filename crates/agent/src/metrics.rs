//! What the agent counts, under Istio's names.

use prometheus::{Gauge, IntCounter, Registry};
use std::time::SystemTime;

/// Handles to the counters; cloning gives the same ones.
#[derive(Clone)]
pub struct AgentMetrics {
    requests: IntCounter,
    failures: IntCounter,
    expiry: Gauge,
    /// Streams that Envoy has opened.
    pub streams: IntCounter,
    /// Streams that istiod has ended, or that could not be opened.
    pub terminations: IntCounter,
}

impl AgentMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            requests: IntCounter::new("istio_agent_num_outgoing_requests", "Certificates asked for.")?,
            failures: IntCounter::new("istio_agent_num_failed_outgoing_requests", "Requests for a certificate that failed.")?,
            expiry: Gauge::new("istio_agent_cert_expiry_timestamp", "When the workload's certificate ends, in seconds since 1970.")?,
            streams: IntCounter::new("istio_agent_xds_proxy_streams", "xDS streams that Envoy has opened.")?,
            terminations: IntCounter::new(
                "istio_agent_istiod_connection_terminations",
                "xDS streams that ended on istiod's side, or could not be opened.",
            )?,
        };
        for counter in [&metrics.requests, &metrics.failures, &metrics.streams, &metrics.terminations] {
            registry.register(Box::new(counter.clone()))?;
        }
        registry.register(Box::new(metrics.expiry.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn requested(&self) {
        self.requests.inc();
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
    }

    pub(crate) fn expires_at(&self, time: SystemTime) {
        self.expiry.set(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }
}
