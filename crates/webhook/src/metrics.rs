//! What was decided, under Istio's names.

use crate::review::Verdict;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// The metrics of validating admission. Only kinds that exist become labels: who asks may be anybody.
#[derive(Clone)]
pub struct Metrics {
    passed: IntCounterVec,
    failed: IntCounterVec,
    http_errors: IntCounterVec,
    pub(crate) updates: IntCounter,
    pub(crate) update_errors: IntCounterVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// If they have been registered before.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let resource = ["group", "version", "resource"];
        let metrics = Self {
            passed: IntCounterVec::new(Opts::new("galley_validation_passed", "Resource is valid"), &resource)?,
            failed: IntCounterVec::new(
                Opts::new("galley_validation_failed", "Resource validation failed"),
                &["group", "version", "resource", "reason"],
            )?,
            http_errors: IntCounterVec::new(
                Opts::new("galley_validation_http_error", "Resource validation http serve errors"),
                &["status"],
            )?,
            updates: IntCounter::new("galley_validation_config_updates", "k8s webhook configuration updates")?,
            update_errors: IntCounterVec::new(
                Opts::new("galley_validation_config_update_error", "k8s webhook configuration update error"),
                &["reason"],
            )?,
        };
        registry.register(Box::new(metrics.passed.clone()))?;
        registry.register(Box::new(metrics.failed.clone()))?;
        registry.register(Box::new(metrics.http_errors.clone()))?;
        registry.register(Box::new(metrics.updates.clone()))?;
        registry.register(Box::new(metrics.update_errors.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn reviewed(&self, verdict: Verdict) {
        match verdict {
            Verdict::Allowed(Some(kind)) => {
                self.passed.with_label_values(&[kind.group(), version(kind), kind.plural()]).inc();
            }
            Verdict::Refused(kind) => {
                self.failed.with_label_values(&[kind.group(), version(kind), kind.plural(), "invalid_resource"]).inc();
            }
            Verdict::Allowed(None) => {}
        }
    }

    pub(crate) fn http_error(&self, status: u16) {
        self.http_errors.with_label_values(&[&status.to_string()]).inc();
    }
}

fn version(kind: istio_api::Kind) -> &'static str {
    kind.versions().first().copied().unwrap_or_default()
}
