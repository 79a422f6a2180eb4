//! "A call to this host, path and port goes to that cluster": Envoy's own rules of choosing, over generated configuration.
//!
//! In: the resources of one proxy ([`Resources`], decoded from a view) and a [`Call`]. Out: an [`Outcome`]: which listener,
//! filter chain, virtual host and route are chosen, and where the call ends: at a cluster, with an answer of the proxy, or
//! with a named [`Failure`].
//! Never: sockets, chance (weights are told, not drawn), or knowledge of how the configuration was made.
//! Read first: `simulate.rs`, the way of a call from top to bottom.

mod action;
mod admission;
mod call;
mod certificate;
mod filter_chain;
mod header_match;
mod jwt;
mod listener;
mod metadata;
mod outcome;
mod path;
mod rbac;
mod resources;
mod route_match;
mod simulate;
mod text_match;
mod virtual_host;

pub use call::{Call, Direction, Protocol, Security};
pub use outcome::{End, Failure, Forwarded, Outcome};
pub use resources::{DecodeError, Resources};
pub use simulate::simulate;
