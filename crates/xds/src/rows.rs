//! Encoded rows that are kept from turn to turn and shared by classes.
//!
//! A row whose inputs are the very same allocations as those of a row that somebody has is not built again. The persistent tables of the model keep the allocation of an equal row, so that
//! "same allocation" means "same content".

use rustc_hash::FxHashMap;
use std::{
    collections::BTreeMap,
    hash::Hash,
    sync::{Arc, Weak},
};
use xds_wire::{Encoded, Origins, Part, ResourceName, ResourceType, Version};

/// Values of several inputs for each key, kept as long as somebody has them.
pub struct Shared<K, I, V> {
    rows: FxHashMap<K, Vec<(I, Arc<V>)>>,
    count: usize,
    swept: usize,
    /// How many values were built, ever.
    pub built: u64,
}

impl<K, I, V> Default for Shared<K, I, V> {
    fn default() -> Self {
        Self { rows: FxHashMap::default(), count: 0, swept: 0, built: 0 }
    }
}

impl<K: Hash + Eq, I: PartialEq, V> Shared<K, I, V> {
    /// The value that was built from equal `inputs`, else a new one.
    pub fn get(&mut self, key: K, inputs: I, build: impl FnOnce(&I) -> Arc<V>) -> Arc<V> {
        let rows = self.rows.entry(key).or_default();
        if let Some((_, value)) = rows.iter().find(|(known, _)| *known == inputs) {
            return value.clone();
        }
        let value = build(&inputs);
        // Almost always there is one, and a vector that grows by itself begins with four.
        rows.reserve_exact(1);
        rows.push((inputs, value.clone()));
        self.count += 1;
        self.built += 1;
        value
    }

    /// Forgets what nobody has any more, once that may be half of everything: looking costs as much as there is.
    pub fn sweep(&mut self) {
        if self.count > self.swept.saturating_mul(2).max(1024) {
            self.sweep_all();
        }
    }

    /// The same without waiting, for what is seldom kept.
    pub fn sweep_all(&mut self) {
        self.rows.retain(|_, rows| {
            rows.retain(|(_, value)| Arc::strong_count(value) > 1);
            !rows.is_empty()
        });
        self.rows.shrink_to_fit();
        self.count = self.rows.values().map(Vec::len).sum();
        self.swept = self.count;
    }
}

/// An allocation as an input: equal if it is the same one.
#[derive(Clone, Debug)]
pub struct Same<T>(pub Arc<T>);

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Keeps one allocation for each encoded content, so that classes share it and views compare by pointer.
#[derive(Default)]
pub struct Interner {
    known: FxHashMap<(ResourceType, ResourceName, Version), Weak<Encoded>>,
    swept: usize,
    encoded: BTreeMap<ResourceType, u64>,
}

impl Interner {
    /// Encodes a message body, or gives the resource that has it already.
    pub fn encode(&mut self, kind: ResourceType, name: &str, body: &[u8], origins: Origins) -> Arc<Encoded> {
        let name = ResourceName::from(name);
        let key = (kind, name.clone(), Version::of(body));
        if let Some(known) = self.known.get(&key).and_then(Weak::upgrade)
            && known.origins().eq(origins.iter())
        {
            return known;
        }
        self.add(key, Encoded::new(kind, name, body, origins))
    }

    /// The same of a message that consists of parts.
    pub fn assemble(&mut self, kind: ResourceType, name: &str, (start, parts, end): (&[u8], Vec<Arc<Part>>, &[u8])) -> Arc<Encoded> {
        let name = ResourceName::from(name);
        let key = (kind, name.clone(), Encoded::version_of((start, &parts, end)));
        if let Some(known) = self.known.get(&key).and_then(Weak::upgrade)
            && known.consists_of(&parts)
        {
            return known;
        }
        self.add(key, Encoded::assembled(kind, name, (start, parts, end)))
    }

    /// The resource itself, or the one that has the same content already.
    pub fn keep(&mut self, kind: ResourceType, encoded: Encoded) -> Arc<Encoded> {
        let key = (kind, encoded.name.clone(), encoded.version);
        match self.known.get(&key).and_then(Weak::upgrade) {
            Some(known) if *known == encoded => known,
            _ => self.add(key, encoded),
        }
    }

    fn add(&mut self, key: (ResourceType, ResourceName, Version), encoded: Encoded) -> Arc<Encoded> {
        let encoded = Arc::new(encoded);
        *self.encoded.entry(key.0).or_default() += 1;
        self.known.insert(key, Arc::downgrade(&encoded));
        encoded
    }

    /// How many contents of a type were new, ever.
    pub fn encoded(&self, kind: ResourceType) -> u64 {
        self.encoded.get(&kind).copied().unwrap_or_default()
    }

    /// Forgets the contents that nobody has any more, once they may be half of all.
    pub fn sweep(&mut self) {
        if self.known.len() > self.swept.saturating_mul(2).max(1024) {
            self.known.retain(|_, encoded| encoded.strong_count() > 0);
            self.swept = self.known.len();
        }
    }
}
