//! Services.

pub mod clusters;
pub mod port_names;
