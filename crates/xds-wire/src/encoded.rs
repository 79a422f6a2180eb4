//! One resource, encoded once for every stream that will ever carry it.

use crate::ResourceType;
use base::ObjectRef;
use bytes::{BufMut, Bytes, BytesMut};
use std::{fmt, str::FromStr, sync::Arc};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

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
        Self(xxh3_128(content) & !BARE)
    }

    /// Whether it is that of a route configuration whose virtual hosts are sent one by one: what a proxy has can be told
    /// from its version alone, when it comes back.
    pub fn is_bare(self) -> bool {
        self.0 & BARE != 0
    }
}

/// The bit by which versions of [`Encoded::bare`] differ from all others.
const BARE: u128 = 1 << 127;

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
///
/// A large resource whose message has one long repeated field is a list of parts: it shares the bytes of those that it has
/// in common with others, and costs a pointer for each.
#[derive(Clone)]
pub struct Encoded {
    /// Unique within the type.
    pub name: ResourceName,
    /// The hash of the body.
    pub version: Version,
    origins: Origins,
    /// Everything before the parts, and everything if there are none.
    head: Bytes,
    any_start: usize,
    body_start: usize,
    parts: Box<[Arc<Part>]>,
    /// What follows the parts: the end of the body, then what follows the `Any`.
    tail: Bytes,
    body_end: usize,
    parts_length: usize,
}

/// Encoded elements of a repeated field, tags and lengths included, that several resources have in common.
#[derive(Debug)]
pub struct Part {
    /// They stand in the message as they are.
    pub bytes: Bytes,
    /// The hash of the bytes.
    pub version: Version,
    /// The objects behind them.
    pub origins: Origins,
    /// Whether it stands in the message even where the others are sent one by one.
    pub stays: bool,
}

impl Part {
    /// Hashes the bytes.
    pub fn new(bytes: Bytes, origins: Origins) -> Self {
        Self { version: Version::of(&bytes), bytes, origins, stays: false }
    }

    /// One that stands in the message even where the others are sent one by one.
    pub fn staying(bytes: Bytes, origins: Origins) -> Self {
        Self { stays: true, ..Self::new(bytes, origins) }
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.origins == other.origins
    }
}

/// A message: what stands before its parts, the parts, and what stands behind them.
type Content<'a> = (&'a [u8], Box<[Arc<Part>]>, &'a [u8]);

/// Where a resource is to stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// In a `DeltaDiscoveryResponse`, tag and length of its field 2 included.
    Delta,
    /// In a `DiscoveryResponse`, tag and length of its field 2 included.
    StateOfTheWorld,
    /// By itself: the encoded message.
    Body,
}

/// The tag of field 2, length-delimited: `resources` in both responses and `resource` within `Resource`.
const FIELD_2: u8 = 0x12;

impl Encoded {
    /// Wraps the encoded message `body` of type `kind`.
    pub fn new(kind: ResourceType, name: ResourceName, body: &[u8], origins: Origins) -> Self {
        Self::framed(kind, name, Version::of(body), origins, (body, Box::default(), &[]))
    }

    /// Wraps the message that consists of `start`, the parts and `end`. Its version is a hash of what the parts hash to, so
    /// that making it costs nothing for the length of the parts.
    pub fn assembled(kind: ResourceType, name: ResourceName, (start, parts, end): (&[u8], Vec<Arc<Part>>, &[u8])) -> Self {
        let version = Self::version_of((start, &parts, end));
        Self::framed(kind, name, version, Arc::from([]), (start, parts.into(), end))
    }

    /// The version of [`Encoded::assembled`].
    pub fn version_of((start, parts, end): (&[u8], &[Arc<Part>], &[u8])) -> Version {
        let mut hasher = Xxh3::new();
        hasher.update(start);
        parts.iter().for_each(|part| hasher.update(&part.version.0.to_le_bytes()));
        hasher.update(end);
        Version(hasher.digest128() & !BARE)
    }

    fn framed(kind: ResourceType, name: ResourceName, version: Version, origins: Origins, (start, parts, end): Content<'_>) -> Self {
        let text = version.to_string();
        let url = kind.url().as_bytes();
        let parts_length = parts.iter().map(|part| part.bytes.len()).sum();
        let body_length = start.len() + parts_length + end.len();
        let any_length = field_length(url.len()) + field_length(body_length);
        let resource_length = field_length(text.len()) + field_length(any_length) + field_length(name.len());
        let whole = if parts.is_empty() { field_length(resource_length) } else { 128 + start.len() };
        let mut out = BytesMut::with_capacity(whole);
        put_tag_and_length(&mut out, FIELD_2, resource_length);
        put_field(&mut out, 0x0a, text.as_bytes()); // Resource.version = 1
        let any_start = out.len();
        put_tag_and_length(&mut out, FIELD_2, any_length); // Resource.resource = 2
        put_field(&mut out, 0x0a, url); // Any.type_url = 1
        put_tag_and_length(&mut out, FIELD_2, body_length); // Any.value = 2
        let body_start = out.len();
        out.put_slice(start);
        let mut head = Bytes::new();
        if !parts.is_empty() {
            head = std::mem::take(&mut out).freeze();
        }
        out.put_slice(end);
        let body_end = out.len();
        put_field(&mut out, 0x1a, name.as_bytes()); // Resource.name = 3
        let tail = out.freeze();
        Self { name, version, origins, head, any_start, body_start, parts, tail, body_end, parts_length }
    }

    /// The same message without the parts that are sent one by one, and with `more` at its end; `None` if no part stays.
    pub fn bare(&self, kind: ResourceType, more: &[u8]) -> Option<Self> {
        let stays: Vec<Arc<Part>> = self.parts.iter().filter(|part| part.stays).cloned().collect();
        let (start, end) = (self.piece(Form::Body, 0)?, self.piece(Form::Body, self.pieces() - 1)?);
        let end = [&end, more].concat();
        let version = Version(Self::version_of((&start, &stays, &end)).0 | BARE);
        let none = stays.is_empty();
        (!none).then(|| Self::framed(kind, self.name.clone(), version, Arc::from([]), (&start, stays.into(), &end)))
    }

    /// The objects behind it.
    pub fn origins(&self) -> impl Iterator<Item = &ObjectRef> {
        self.origins.iter().chain(self.parts.iter().flat_map(|part| part.origins.iter()))
    }

    /// The parts that it shares with others.
    pub fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// Whether both come from the same objects.
    pub fn same_origins(&self, other: &Self) -> bool {
        self.origins == other.origins
            && self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(|(a, b)| Arc::ptr_eq(a, b) || a.origins == b.origins)
    }

    /// Whether it is made of these, or of others that come from the same objects, and of nothing else that has any.
    pub fn consists_of(&self, parts: &[Arc<Part>]) -> bool {
        self.origins.is_empty()
            && self.parts.len() == parts.len()
            && self.parts.iter().zip(parts).all(|(a, b)| Arc::ptr_eq(a, b) || **a == **b)
    }

    /// The number of pieces that its bytes consist of.
    pub fn pieces(&self) -> usize {
        if self.parts.is_empty() { 1 } else { self.parts.len() + 2 }
    }

    /// One piece of its bytes, without a copy; `None` behind the last.
    pub fn piece(&self, form: Form, index: usize) -> Option<Bytes> {
        let (start, end) = match form {
            Form::Delta => (0, self.tail.len()),
            Form::StateOfTheWorld => (self.any_start, self.body_end),
            Form::Body => (self.body_start, self.body_end),
        };
        if self.parts.is_empty() {
            return (index == 0).then(|| self.tail.slice(start..end));
        }
        match index.checked_sub(1) {
            None => Some(self.head.slice(start..)),
            Some(at) if at == self.parts.len() => Some(self.tail.slice(..end)),
            Some(at) => self.parts.get(at).map(|part| part.bytes.clone()),
        }
    }

    /// The number of bytes.
    pub fn length(&self, form: Form) -> usize {
        let whole = self.head.len() + self.parts_length + self.tail.len();
        match form {
            Form::Delta => whole,
            Form::StateOfTheWorld => whole - self.any_start - (self.tail.len() - self.body_end),
            Form::Body => whole - self.body_start - (self.tail.len() - self.body_end),
        }
    }

    /// All bytes in one piece; copied if there are parts.
    pub fn bytes(&self, form: Form) -> Bytes {
        if let (true, Some(whole)) = (self.parts.is_empty(), self.piece(form, 0)) {
            return whole;
        }
        let mut out = BytesMut::with_capacity(self.length(form));
        (0..self.pieces()).filter_map(|index| self.piece(form, index)).for_each(|piece| out.put_slice(&piece));
        out.freeze()
    }

    /// The encoded message itself.
    pub fn body(&self) -> Bytes {
        self.bytes(Form::Body)
    }
}

impl PartialEq for Encoded {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.name == other.name && self.same_origins(other)
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.name, self.version, self.length(Form::Delta))
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
