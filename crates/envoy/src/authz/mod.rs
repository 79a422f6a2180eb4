//! AuthorizationPolicy as filters of role-based access control, and the external authorizers that `CUSTOM` asks.
//!
//! In: [`AuthorizationInputs`], the policies that apply to a workload, by action. Out: HTTP filters with their positions,
//! and network filters, which see less of a request.
//! Never: which policies apply to whom, and where an authorizer is found; the inputs say it.
//! Read first: `filters.rs`, then `rule.rs`, the way from a rule to its conditions.

mod condition;
mod external;
mod filters;
mod identity;
mod inputs;
mod permission;
mod principal;
mod rule;
mod text;
mod trust_domain;

pub use filters::{http_filters, tcp_filters};
pub use inputs::{AuthorizationInputs, Authorizer, CustomPolicies, PolicyInputs};
pub use rule::{HttpField, http_fields};

#[cfg(test)]
mod tests;
