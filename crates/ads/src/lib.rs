//! The xDS server: streams of real proxies on one side, views of encoded resources on the other.
//!
//! In: [`Discovery`], the one trait through which the rest of the control plane is seen, and gRPC streams of Envoys,
//! delta and state-of-the-world. Out: responses made of shared bytes; acknowledgements and refusals reported back.
//! Never: anything above `xds-wire`: it does not know what a resource means, who built it or from what.
//! Read first: `discovery.rs`, then the state machine of one connection in `connection.rs`.

mod discovery;

pub use discovery::{ConnectError, Discovery, Peer, Rejection, Subscription};
