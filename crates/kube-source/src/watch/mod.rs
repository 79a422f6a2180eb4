//! The protocol of lists and watches: from a collection of the API server to notices about its objects.
//!
//! `target` names a collection and writes requests; `message` reads answers; `follow` is the loop that lists, watches,
//! resumes and starts over.

mod backoff;
mod follow;
mod message;
mod target;

pub use backoff::Backoff;
pub use follow::follow;
pub use target::{Target, Version};

use bytes::Bytes;

/// What a collection's watch says; each object as its JSON.
#[derive(Clone, PartialEq, Debug)]
pub enum Notice {
    /// A list begins, the first or another one: what was listed before and not completed is void.
    ListBegins,
    /// An object of the list.
    Listed(Bytes),
    /// The list is complete: what it did not name does not exist.
    ListEnds,
    /// An object is new or another.
    Changed(Bytes),
    /// An object is gone; this is its last state.
    Deleted(Bytes),
}
