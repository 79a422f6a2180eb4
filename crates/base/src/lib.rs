//! Leaf types that every other crate speaks in.
//!
//! In: strings as users and Kubernetes write them. Out: parsed, comparable values (host names with Istio's wildcard
//! rules, protocols, labels, localities, CIDRs, identities) and the one shape of a diagnostic.
//! Never: I/O, clocks, Envoy or Kubernetes types.
//! Read first: `hostname.rs`, then `diagnostic.rs`.

mod cidr;
mod diagnostic;
mod grpc_status;
mod hash_ring;
mod hostname;
mod identity;
mod labels;
mod locality;
mod names;
mod object;
mod protocol;
pub mod secret_name;
pub mod tls;
mod visibility;

pub use cidr::{Address, Cidr};
pub use diagnostic::{Diagnostic, Level, Location};
pub use grpc_status::GRPC_STATUSES;
pub use hash_ring::LARGEST_HASH_RING;
pub use hostname::Hostname;
pub use identity::SpiffeIdentity;
pub use labels::{Labels, Selector};
pub use locality::Locality;
pub use names::{ClusterId, DomainSuffix, Namespace, NetworkId, PortNumber};
pub use object::ObjectRef;
pub use protocol::Protocol;
pub use visibility::{ExportTo, Visibility};
