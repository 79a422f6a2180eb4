//! From the text of a file to typed objects.
//!
//! The way of a text: [`split`] at document marks → [`parse`] into a tree with lines → `identity` (kind, namespace and
//! name, as the API server would read them) → the schema of the kind (`schema`), which finds every unknown field and
//! wrong type → serde. Whatever fails on the way becomes a diagnostic with line and path.

mod identity;
mod locate;
mod object;
mod parse;
mod scalar;
mod schema;
mod split;
mod suggest;
mod tree;

pub use identity::ObjectKey;
pub use locate::line_of;
pub use object::{Decoded, Item, decode, decode_json};
pub use parse::{SyntaxError, parse};
pub use schema::{Finding, UnknownFields, Walk};
pub use split::{Document, split};
pub use tree::{Entry, Node, Path, Value};
