//! Listeners and their filter chains, in Istio's shapes and names.
//!
//! In: `…Inputs` structs, with TLS as transport sockets and inbound routes as values that other folders build. Out: one
//! `Listener` each. Never: which services share a port or which policy applies; that is decided before.
//! Every listener is one that Envoy accepts: of two chains for the same connections the first stays, so that a mistake costs
//! one chain and not the listener.
//! Read first: `outbound.rs` and `inbound_chain.rs`; `filter/order.rs` for the filters within.

mod bind;
pub(crate) mod chain_match;
mod distinct_chains;
mod gateway;
mod inbound_chain;
mod inspectors;
pub mod names;
mod options;
mod outbound;
mod sidecar_bind;
mod tunnel;
mod virtual_inbound;
mod virtual_outbound;

pub use bind::Bind;
pub use gateway::{GatewayAction, GatewayChain, GatewayListenerInputs, GatewayTransport, gateway_listener};
pub use inbound_chain::{Certificates, InboundChainInputs, InboundProtocol, InboundTls, MutualTlsMode};
pub use options::ProxyOptions;
pub use outbound::{OutboundAction, OutboundChain, OutboundFallback, OutboundListenerInputs, outbound_listener};
pub use sidecar_bind::{BoundInboundInputs, bound_inbound_listener, sidecar_egress_bind};
pub use tunnel::connect_originate_listener;
pub use virtual_inbound::{InboundPassthrough, VirtualInboundInputs, virtual_inbound};
pub use virtual_outbound::{OutboundPolicy, VirtualOutboundInputs, virtual_outbound};

#[cfg(test)]
mod tests;
