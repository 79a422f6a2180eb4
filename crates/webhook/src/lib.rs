//! Validating admission: the API server asks before it stores an object of Istio's kinds.
//!
//! In: reviews over HTTPS, and the certificates of our own servers. Out: a yes or a no with the diagnostics that
//! `istioctl validate` would print, warnings beside a yes; and the `ValidatingWebhookConfiguration` that makes the API server
//! ask, with a CA bundle that fits our certificate and a failure policy that is `Fail` only once asking works.
//! Never: a change of an object, a look at another object, any effect of a review (so that a dry run is one).
//! Read first: `review.rs`, then `server.rs`; for the configuration, `upkeep.rs`.

mod body;
mod metrics;
mod review;
mod server;
mod upkeep;

pub use metrics::Metrics;
pub use review::{Verdict, review};
pub use server::{router, serve};
pub use upkeep::{FailurePolicy, Upkeep};
