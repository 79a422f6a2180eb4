//! Gateways with the workloads that serve them.

pub mod certificates;
pub mod conflicts;
pub mod ports;
pub mod secrets;
