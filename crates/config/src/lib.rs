//! Users' objects: from text to typed, checked rows.
//!
//! In: files (YAML and JSON), or events of another source. Out: [`Event`]s with typed objects and diagnostics that name
//! file, line, object and field; and the [`Store`], one table per kind.
//! Never: Kubernetes clients, Envoy types, or a decision about what an object means.
//! Read first: `event.rs`, then `store.rs`; for the way of a file, `file/`.

pub mod decode;
mod event;
mod features;
pub mod file;
mod store;

pub use event::{Change, Event, JwksSource};
pub use features::{Features, JwksFetch};
pub use store::{Key, Store, StoreChanges};
