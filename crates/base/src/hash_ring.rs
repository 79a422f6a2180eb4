//! The ring of consistent hashing.

/// The most entries that Envoy gives a ring; it refuses a cluster with a larger minimum.
pub const LARGEST_HASH_RING: u64 = 8_388_608;
