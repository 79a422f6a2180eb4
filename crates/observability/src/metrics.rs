//! The registry that all metrics of the process are on.

use prometheus::{Encoder, Registry, TextEncoder};

/// A handle to the registry; cloning it gives the same registry.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// An empty registry. One per process, and one per test.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where crates register their metrics, under Istio's names where Istio has the thing.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        String::from_utf8(out).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// The content type of [`Metrics::text`].
    pub fn content_type() -> &'static str {
        prometheus::TEXT_FORMAT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printed_as_registered() {
        let metrics = Metrics::new();
        let counter = prometheus::IntCounter::new("pilot_total_xds_rejects", "Refused responses.").unwrap();
        metrics.registry().register(Box::new(counter.clone())).unwrap();
        counter.inc();
        assert!(metrics.clone().text().unwrap().contains("\npilot_total_xds_rejects 1\n"));
    }
}
