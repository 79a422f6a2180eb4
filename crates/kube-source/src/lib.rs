//! A Kubernetes cluster as a source of events.
//!
//! In: a client of an API server, and which revision and namespaces are ours. Out: batches of [`config::Event`]: objects
//! set and deleted, mesh-wide settings, what is wrong with objects, and that everything has been sent once.
//! Never: what an object means, or xDS; and no write but that of `status/` and of the Lease (`leader.rs`).
//! Read first: `source.rs`, which starts everything; then `objects.rs`, the way of one kind; then `watch/`, the protocol.
//!
//! The watches are our own rather than kube's, for three reasons: there one malformed object fails the page or the
//! stream that it is in; its events do not show bookmarks, of which the age of a watch is made; and its objects carry
//! all of their metadata, which is most of what a small object weighs.

mod connect;
mod crds;
mod decode;
mod error;
pub mod leader;
mod mesh;
mod metrics;
mod objects;
mod options;
mod scope;
mod secrets;
mod source;
pub mod status;
mod tags;
mod watch;

pub use connect::{Access, connect};
pub use error::Error;
pub use metrics::Metrics;
pub use options::{MeshSettings, Options};
pub use source::run;
