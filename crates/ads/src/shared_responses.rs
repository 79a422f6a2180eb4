//! Large bodies of responses that several streams send: one buffer for all of them, for as long as one sends it.

use crate::{connection::Protocol, grpc::form};
use bytes::Bytes;
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use xds_wire::Encoded;
use xxhash_rust::xxh3::Xxh3;

/// Bodies by the hash of what is in them.
#[derive(Default)]
pub(crate) struct SharedResponses {
    bodies: Mutex<HashMap<u128, Weak<Body>>>,
}

/// The concatenated resources of one response.
struct Body(Vec<u8>);

/// A `Bytes` that keeps the body alive.
struct Handle(Arc<Body>);

impl AsRef<[u8]> for Handle {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

/// Entries beyond this number are cleared of bodies that nobody sends.
const MAX_ENTRIES: usize = 512;

impl SharedResponses {
    /// The body of a response with these resources, if another stream has asked for the same before. A body that only
    /// one stream sends is not built as a whole.
    pub fn body(&self, protocol: Protocol, resources: &[Arc<Encoded>], length: usize) -> Option<Bytes> {
        let key = key(protocol, resources);
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        if bodies.len() >= MAX_ENTRIES {
            bodies.retain(|_, body| body.strong_count() > 0);
        }
        let Some(entry) = bodies.get_mut(&key) else {
            bodies.insert(key, Weak::new());
            return None;
        };
        let body = entry.upgrade().unwrap_or_else(|| {
            let mut bytes = Vec::with_capacity(length);
            let form = form(protocol);
            let pieces = resources.iter().flat_map(|resource| (0..resource.pieces()).filter_map(move |index| resource.piece(form, index)));
            pieces.for_each(|piece| bytes.extend_from_slice(&piece));
            let body = Arc::new(Body(bytes));
            *entry = Arc::downgrade(&body);
            body
        });
        Some(Bytes::from_owner(Handle(body)))
    }
}

/// Names and versions say everything about the content; 128 bits of their hash never meet by chance.
fn key(protocol: Protocol, resources: &[Arc<Encoded>]) -> u128 {
    let mut hasher = Xxh3::new();
    protocol.hash(&mut hasher);
    for resource in resources {
        resource.name.hash(&mut hasher);
        resource.version.hash(&mut hasher);
    }
    hasher.digest128()
}
