//! Encoded rows that are kept from turn to turn and shared by classes.
//!
//! Every class is put together anew in a turn that touches its inputs; a row whose inputs are the very same allocations
//! as last time is not built again. The persistent tables of the model keep the allocation of an equal row, so that
//! "same allocation" means "same content".

use rustc_hash::FxHashMap;
use std::{hash::Hash, sync::Arc};
use xds_wire::{Encoded, Origins, ResourceName, ResourceType};

/// Rows of one sort by key, each with the inputs it was built from.
pub struct Rows<K, I, V> {
    rows: FxHashMap<K, Row<I, V>>,
    turn: u64,
    /// How many rows were built, ever.
    pub built: u64,
}

struct Row<I, V> {
    inputs: I,
    value: V,
    used: u64,
}

impl<K, I, V> Default for Rows<K, I, V> {
    fn default() -> Self {
        Self { rows: FxHashMap::default(), turn: 0, built: 0 }
    }
}

impl<K: Hash + Eq, I: PartialEq, V: Clone> Rows<K, I, V> {
    /// The row of `key` if it was built from equal `inputs`, else a new one.
    pub fn get(&mut self, key: K, inputs: I, build: impl FnOnce(&I) -> V) -> V {
        if let Some(row) = self.rows.get_mut(&key)
            && row.inputs == inputs
        {
            row.used = self.turn;
            return row.value.clone();
        }
        let value = build(&inputs);
        self.built += 1;
        self.rows.insert(key, Row { inputs, value: value.clone(), used: self.turn });
        value
    }

    /// Drops the rows that no class asked for since the last call.
    pub fn sweep(&mut self) {
        let turn = self.turn;
        self.rows.retain(|_, row| row.used == turn);
        self.turn += 1;
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
    known: FxHashMap<(ResourceType, ResourceName, xds_wire::Version), Arc<Encoded>>,
}

impl Interner {
    /// Encodes a message body, or gives the resource that has it already.
    pub fn encode(&mut self, kind: ResourceType, name: &str, body: &[u8], origins: Origins) -> Arc<Encoded> {
        let name = ResourceName::from(name);
        let key = (kind, name.clone(), xds_wire::Version::of(body));
        if let Some(known) = self.known.get(&key)
            && known.origins().eq(origins.iter())
        {
            return known.clone();
        }
        let encoded = Arc::new(Encoded::new(kind, name, body, origins));
        self.known.insert(key, encoded.clone());
        encoded
    }

    /// Forgets the contents that only the interner still holds.
    pub fn sweep(&mut self) {
        self.known.retain(|_, encoded| Arc::strong_count(encoded) > 1);
    }
}
