//! Counts of fetches, under Istio's names.

use prometheus::{IntCounter, Registry};

/// The counters; they count also where they could not be registered.
pub struct Metrics {
    /// Keys were fetched.
    pub fetched: Option<IntCounter>,
    /// Keys could not be fetched.
    pub failed: Option<IntCounter>,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Self {
        let counter = |name: &str, text: &str| {
            let counter = IntCounter::new(name, text).ok()?;
            registry.register(Box::new(counter.clone())).ok()?;
            Some(counter)
        };
        Self {
            fetched: counter("pilot_jwks_resolver_network_fetch_success_total", "Sets of keys of token issuers that were fetched."),
            failed: counter("pilot_jwks_resolver_network_fetch_fail_total", "Attempts to fetch keys of token issuers that failed."),
        }
    }

    /// Counts an attempt.
    pub fn count(&self, good: bool) {
        if let Some(counter) = if good { &self.fetched } else { &self.failed } {
            counter.inc();
        }
    }
}
