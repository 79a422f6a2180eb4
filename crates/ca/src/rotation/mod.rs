//! Replacing what signs and what is trusted, without anybody being cut off.
//!
//! A [`Generation`] is what signs, what is trusted with it, and the trust domain of identities. To go from one to
//! another there are two steps between, and no step is taken before every connected proxy is ready for it:
//!
//! 1. **Distributing**: the old generation signs, the roots and trust domains of both are accepted. Over when every
//!    proxy has the roots of both.
//! 2. **Signing**: the new generation signs, both are accepted. Over when every proxy has a certificate of the new one,
//!    or the last certificate of the old one has expired.
//!
//! Then the old one is forgotten. A step with nothing to do, as with a new intermediate under the same root, is skipped.
//! The state is in the store before anything is done, so that a restart goes on where it was; several replicas share
//! it, and each has to find its own proxies ready.

mod generation;
mod holders;
mod state;
mod steps;

pub use generation::Generation;
pub use holders::{Holder, Holders};
pub use state::{Phase, resume};
pub use steps::{ConnectedProxy, HoldUp, Order, Rotation, RotationError, RotationSettings, Status};
