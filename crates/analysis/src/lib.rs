//! What is wrong with objects together: Istio's analyzers, and findings of our own about what it swallows.
//!
//! In: the store's rows, kinds that only analysis reads, and the snapshot where there is one ([`Mesh`]). Out: diagnostics
//! with Istio's code, level and object, and texts close to Istio's.
//! Never: I/O, state, or a decision that configuration depends on: everything here may be left out, and nothing that is
//! served changes.
//! Read first: `analyzer.rs`, the table; then any file of `virtual_service/`. There is one analyzer in each file.

mod analyzer;
mod annotation;
mod authentication;
mod authorization;
mod code;
mod condition;
mod deployment;
mod deprecation;
mod destination_rule;
mod envoy_filter;
mod external_control_plane;
mod foreign;
mod gateway;
mod host;
mod injection;
mod kubernetes_gateway;
mod mesh;
mod mesh_networks;
mod report;
mod schema;
mod selector;
mod service;
mod service_entry;
mod sidecar;
mod suppression;
mod swallowed;
mod telemetry;
mod virtual_service;
mod webhook;
mod workload;

pub use analyzer::{Analyzer, Needs, analyze, analyzers, schema_analyzers};
pub use code::{Code, codes};
pub use foreign::{Foreign, ForeignObject, WebhookKind};
pub use mesh::Mesh;
pub use suppression::{Suppression, is_suppressed};
