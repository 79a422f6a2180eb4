//! Replacing what signs and what is trusted, without anybody being cut off.

mod holders;

pub use holders::{Holder, Holders};
