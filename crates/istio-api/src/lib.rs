//! The API: every kind that users write and every Kubernetes kind that is read, with all fields.
//!
//! In: JSON values (from YAML files or the API server). Out: typed objects, and for Istio's kinds the schema by which
//! documents are decoded strictly and from which the CRDs are made.
//! Never: I/O, rules of validation, any meaning of a field beyond its type.
//! Read first: `kind.rs`, the one table of kinds; then `message.rs`, the macros in which all types are written, and
//! `networking/virtual_service.rs` as an example.

pub mod crd;
pub mod duration;
pub mod extensions;
pub mod kind;
pub mod kubernetes;
pub mod mesh;
mod message;
pub mod networking;
pub mod object;
pub mod scalar;
mod schema;
pub mod security;
pub mod selector;
pub mod status;
pub mod telemetry;

pub use duration::Duration;
pub use kind::{AnyObject, Kind, Resource, decode, decode_text};
pub use object::{Layout, Metadata, Object, OwnerReference};
pub use scalar::{Bytes, Generation, IntOrString, Struct, Timestamp};
