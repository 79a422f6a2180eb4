//! What goes over the xDS wire, independent of who builds it and who sends it.
//!
//! In: built protobuf messages and the objects that they came from. Out: [`Encoded`] resources (encoded once, hashed,
//! shared by every stream), ordered persistent sets of them with their differences, and proto JSON for people.
//! Never: streams, clocks, or knowledge of what a resource means.
//! Read first: `encoded.rs`, then `resources.rs`.

mod encoded;
pub mod json;
mod resources;
mod type_url;
mod view;

pub use encoded::{Encoded, Form, Origins, Part, ResourceName, Version};
pub use resources::{Change, Resources};
pub use type_url::ResourceType;
pub use view::{Hold, View};
