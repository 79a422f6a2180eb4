//! HTTP routes: virtual hosts and route configurations.
//!
//! In: the `spec` of one VirtualService with its destinations already looked up, or a service without one. Out: Envoy's
//! routes, virtual hosts, and the bytes of route configurations. Never: which VirtualService owns a host, which domains a
//! service has, or what a client may see; that is decided before.
//! Read first: `http_route.rs`, the loop over rules and matches; `action.rs` for what happens to a matched request.

mod action;
mod cors;
pub mod default_route;
mod destination;
mod direct_response;
mod fault;
mod hash;
mod headers;
mod http_route;
mod jwt_claim;
mod matches;
mod mirror;
pub mod names;
mod percent;
mod redirect;
mod retry;
mod rewrite;
pub mod route_configuration;
pub mod virtual_host;

pub use default_route::{DefaultRouteInputs, InboundRouteInputs, default_route, inbound_route};
pub use destination::{DestinationKey, Destinations, ResolvedDestination};
pub use http_route::{HttpRouteInputs, RouteClient, RouteDefaults, RouteSemantics, http_routes, is_catch_all, move_catch_alls_last};
pub use jwt_claim::is_claim;
pub use route_configuration::{RouteConfigurationInputs, inbound_route_configuration, inline_route_configuration, route_configuration};
pub use virtual_host::{
    VirtualHostInputs, allow_any, allow_any_dynamic_dns, blackhole, block_all, decode_virtual_host, encode_routes, encode_virtual_host,
    encode_virtual_host_with, misdirected, virtual_host,
};

#[cfg(test)]
mod tests;
