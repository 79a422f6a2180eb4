//! ServiceEntries.

pub mod addresses;
pub mod protocols;
