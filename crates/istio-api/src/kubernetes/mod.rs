//! Kubernetes' own kinds: only the fields that the control plane reads; all others are skipped when decoding.

pub mod config_map;
pub mod endpoint_slice;
pub mod ingress;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod reference_grant;
pub mod secret;
pub mod service;
