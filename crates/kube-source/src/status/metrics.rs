//! What was written.

use prometheus::{IntCounterVec, Opts, Registry};

/// The metrics of the status writer.
#[derive(Clone)]
pub struct StatusMetrics {
    writes: IntCounterVec,
}

impl StatusMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If they have been registered before.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let writes = IntCounterVec::new(Opts::new("istiod_status_writes_total", "Writes to the status of objects"), &["result"])?;
        registry.register(Box::new(writes.clone()))?;
        Ok(Self { writes })
    }

    pub(super) fn wrote(&self, result: &str) {
        self.writes.with_label_values(&[result]).inc();
    }
}
