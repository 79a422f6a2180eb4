//! Namespace (`v1`): all that matters are its labels and annotations.

use crate::message::message;

message! {
    /// The body of a Namespace.
    pub struct Namespace {}
}
