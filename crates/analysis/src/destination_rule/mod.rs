//! DestinationRules with what they are about.

pub mod ca_certificates;
pub mod subsets;
