//! From a snapshot to the encoded resources of each class of proxies.
//!
//! In: batches of events (from sources, and of proxies that come and go). Out: one [`View`](xds_wire::View) for each
//! class, in which equal content is the same allocation as before.
//! Never: streams, I/O or clocks; a turn is a pure function of the state and its batch.
//! Read first: `turn.rs`, the fixed list of stages; then `class.rs`, who shares what; then `resolve/`, which makes the
//! builders' inputs out of the snapshot.

mod class;
mod delta;
mod diagnostics;
mod drafts;
mod generate;
mod held;
mod one_by_one;
mod own;
mod part;
mod proxy;
pub mod resolve;
mod route_table;
mod rows;
mod turn;

pub use class::{Class, ClassKey};
pub use diagnostics::diagnostics;
pub use proxy::{NodeError, parse_node};
pub use turn::{Input, ProxyId, Publication, State, Statistics};
