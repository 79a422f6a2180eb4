//! Metrics and logs of the process.
//!
//! In: Istio's logging flags, and a name for every metric. Out: a global `tracing` subscriber and the text that
//! `/metrics` answers with.
//! Never: HTTP, or knowledge of what is measured: each crate registers its own metrics on the registry it is given.
//! Read first: `logging.rs`, then `metrics.rs`.

mod logging;
mod metrics;

pub use logging::{LoggingError, init_logging};
pub use metrics::Metrics;
