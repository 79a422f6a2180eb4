//! Deployments.

pub mod services;
pub mod user;
