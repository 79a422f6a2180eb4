//! The xDS server: streams of real proxies on one side, views of encoded resources on the other.
//!
//! In: [`Discovery`], the one trait through which the rest of the control plane is seen, and gRPC streams of Envoys,
//! delta and state-of-the-world. Out: responses made of shared bytes; acknowledgements and refusals reported back.
//! Never: anything above `xds-wire`: it does not know what a resource means, who built it or from what, but for what Envoy
//! needs to hear in which order (`order.rs`, `virtual_hosts.rs`).
//! Read first: `discovery.rs`, then the state machine of one connection in `connection.rs`.

mod acknowledgement;
mod connection;
mod delta;
mod discovery;
mod grpc;
mod metrics;
mod nack;
mod options;
mod order;
mod parcel;
mod permits;
mod replica;
mod server;
mod shared_responses;
mod sotw;
mod status;
mod stream;
mod subscription;
mod type_state;
mod virtual_hosts;
mod wire;

pub use connection::{Action, Connection, ConnectionSettings, Observation, Protocol, ProtocolError, Request, Response};
pub use discovery::{ConnectError, Discovery, Peer, Rejection, SecretAccess, Subscription};
pub use grpc::ResponseBody;
pub use options::{Limits, Options, Waits};
pub use server::{Server, serve};
pub use status::{ConnectionStatus, Connections, ResponseStatus, TypeStatus};
pub use virtual_hosts::takes_virtual_hosts;
