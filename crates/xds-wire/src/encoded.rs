//! One resource, encoded once for every stream that will ever carry it.

use crate::ResourceType;
use base::ObjectRef;
use bytes::{BufMut, Bytes, BytesMut};
use std::{fmt, str::FromStr, sync::Arc};
use xxhash_rust::xxh3::xxh3_128;

/// The name of a resource, unique within its type.
pub type ResourceName = Arc<str>;

/// The user's objects that a resource was made from, so that a refusal by a proxy can name them.
pub type Origins = Arc<[ObjectRef]>;

/// A hash of the content: equal across restarts and replicas, so that a reconnecting proxy gets nothing it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u128);

impl Version {
    /// Hashes the encoded content.
    pub fn of(content: &[u8]) -> Self {
        Self(xxh3_128(content))
    }
}

impl fmt::Display for Version {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// One resource as it stands on the wire.
///
/// Both protocols carry the very same bytes: field 2 of a `DeltaDiscoveryResponse` is `Resource { version, resource,
/// name }`, whose own field 2 is the `Any`; field 2 of a `DiscoveryResponse` is that `Any` too. So the chunk for
/// state-of-the-world is a slice of the chunk for delta, tag included.
#[derive(Clone)]
pub struct Encoded {
    /// Unique within the type.
    pub name: ResourceName,
    /// The hash of the body.
    pub version: Version,
    /// The objects behind it.
    pub origins: Origins,
    delta: Bytes,
    any: (usize, usize),
    body: (usize, usize),
}

/// The tag of field 2, length-delimited: `resources` in both responses and `resource` within `Resource`.
const FIELD_2: u8 = 0x12;

impl Encoded {
    /// Wraps the encoded message `body` of type `kind`.
    pub fn new(kind: ResourceType, name: ResourceName, body: &[u8], origins: Origins) -> Self {
        let version = Version::of(body);
        let text = version.to_string();
        let url = kind.url().as_bytes();
        let any_length = field_length(url.len()) + field_length(body.len());
        let resource_length = field_length(text.len()) + field_length(any_length) + field_length(name.len());
        let mut out = BytesMut::with_capacity(field_length(resource_length));
        put_tag_and_length(&mut out, FIELD_2, resource_length);
        put_field(&mut out, 0x0a, text.as_bytes()); // Resource.version = 1
        let any_start = out.len();
        put_tag_and_length(&mut out, FIELD_2, any_length); // Resource.resource = 2
        put_field(&mut out, 0x0a, url); // Any.type_url = 1
        put_tag_and_length(&mut out, FIELD_2, body.len()); // Any.value = 2
        let body_start = out.len();
        out.put_slice(body);
        let end = out.len();
        put_field(&mut out, 0x1a, name.as_bytes()); // Resource.name = 3
        Self { name, version, origins, delta: out.freeze(), any: (any_start, end), body: (body_start, end) }
    }

    /// The bytes to put into a `DeltaDiscoveryResponse`, tag and length of its field 2 included.
    pub fn delta_chunk(&self) -> &Bytes {
        &self.delta
    }

    /// The bytes to put into a `DiscoveryResponse`, tag and length of its field 2 included.
    pub fn sotw_chunk(&self) -> Bytes {
        self.delta.slice(self.any.0..self.any.1)
    }

    /// The encoded message itself.
    pub fn body(&self) -> Bytes {
        self.delta.slice(self.body.0..self.body.1)
    }
}

impl PartialEq for Encoded {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.name == other.name && self.origins == other.origins
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.name, self.version, self.delta.len())
    }
}

/// The length of a field with a one-byte tag and `length` bytes of content.
fn field_length(length: usize) -> usize {
    1 + varint_length(length) + length
}

fn varint_length(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn put_tag_and_length(out: &mut BytesMut, tag: u8, mut length: usize) {
    out.put_u8(tag);
    while length >= 0x80 {
        out.put_u8((length as u8 & 0x7f) | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
}

fn put_field(out: &mut BytesMut, tag: u8, content: &[u8]) {
    put_tag_and_length(out, tag, content.len());
    out.put_slice(content);
}
