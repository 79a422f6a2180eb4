//! EDS: endpoints as encoded pieces, and the assignments that are put together from them.
//!
//! An endpoint is encoded once and its bytes are shared by all assignments that hold it, because encoding is what costs:
//! an assignment is then a concatenation.
//! Read first: `lb_endpoint.rs`, then `assignment.rs`; `locality_policy.rs` for weights and priorities.

mod assignment;
mod lb_endpoint;
mod locality_policy;

pub use assignment::{LocalityEndpoint, LocalityGroup, cluster_load_assignment, group_by_locality};
pub(crate) use lb_endpoint::socket_address;
pub use lb_endpoint::{EndpointHealth, EndpointInputs, TlsMode, Tunnel, encode_lb_endpoint};
pub use locality_policy::{
    DistancePolicy, LocalityClient, LocalityPolicy, LocalitySettings, TrafficDistribution, apply_locality_policy, locality_policy,
};

#[cfg(test)]
mod tests;
