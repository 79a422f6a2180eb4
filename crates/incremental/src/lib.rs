//! Keyed tables and turns: what every stage between an event and an encoded resource reads and writes.
//!
//! In: rows set or removed in a [`Turn`]. Out: ordered persistent tables whose clones are snapshots, and the set of
//! positions that changed.
//! Never: knowledge of what a row means, I/O or clocks.
//!
//! A stage that is about a whole table reads it through [`Cx`], which records nothing: it runs in every turn that touches
//! the table. Where there are many results, each about a few rows, [`Reads`] records which, and only those are made again
//! that read something [`Touched`]. Read first: `reads.rs`.

mod reads;

use imbl::{OrdMap, ordmap::DiffItem};
pub use reads::{Cell, Reads, Touched};
use std::{collections::BTreeSet, ops::RangeBounds, sync::Arc};

/// The reading end of one computation.
#[derive(Default, Debug)]
pub struct Cx(());

/// A persistent ordered table; a clone is a snapshot and costs O(1).
#[derive(Clone)]
pub struct Table<K, V> {
    rows: OrdMap<K, Arc<V>>,
}

impl<K: Ord + Clone + std::fmt::Debug, V: std::fmt::Debug> std::fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.rows.iter()).finish()
    }
}

impl<K: Ord + Clone, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: OrdMap::new() }
    }
}

impl<K: Ord + Clone, V: PartialEq> Table<K, V> {
    /// The row of this key.
    pub fn get(&self, _cx: &mut Cx, key: &K) -> Option<&Arc<V>> {
        self.rows.get(key)
    }

    /// All rows in the order of their keys. A stage may fold over a whole table only where its result is about all of
    /// it; everything else reads by key or by range.
    pub fn iter<'a>(&'a self, _cx: &mut Cx) -> impl Iterator<Item = (&'a K, &'a Arc<V>)> + use<'a, K, V> {
        self.rows.iter()
    }

    /// The rows whose keys lie in `range`.
    pub fn range<'a, R: RangeBounds<K>>(&'a self, _cx: &mut Cx, range: R) -> impl Iterator<Item = (&'a K, &'a Arc<V>)> + use<'a, K, V, R> {
        self.rows.range(range)
    }

    /// The keys whose rows are others in `newer`. Cost: that of what differs, as far as one was made out of the other.
    pub fn changes<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = &'a K> + use<'a, K, V> {
        self.rows.diff(&newer.rows).map(|item| match item {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key,
            DiffItem::Update { new: (key, _), .. } => key,
        })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Sets (`Some`) or removes (`None`) a row and says whether that changed anything: an equal value does not.
    pub fn set(&mut self, key: K, value: Option<V>) -> bool {
        self.set_shared(key, value.map(Arc::new))
    }

    /// Like [`Table::set`], for a value that is shared already. An equal value keeps the old allocation, so that later
    /// stages may compare by pointer.
    pub fn set_shared(&mut self, key: K, value: Option<Arc<V>>) -> bool {
        match (self.rows.get(&key), value) {
            (Some(old), Some(new)) if Arc::ptr_eq(old, &new) || **old == *new => false,
            (None, None) => false,
            (_, Some(new)) => {
                self.rows.insert(key, new);
                true
            }
            (Some(_), None) => {
                self.rows.remove(&key);
                true
            }
        }
    }
}

/// The keys of one table that changed in one turn.
#[derive(Clone, Debug)]
pub struct Changed<K>(pub BTreeSet<K>);

impl<K: Ord> Default for Changed<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Clone> Changed<K> {
    /// Sets a row of `table` and notes its key if that changed it.
    pub fn set<V: PartialEq>(&mut self, table: &mut Table<K, V>, key: K, value: Option<V>) -> bool {
        let changed = table.set(key.clone(), value);
        if changed {
            self.0.insert(key);
        }
        changed
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums over the rows that each result names, kept from turn to turn: the same as made anew, in every one of many turns.
    #[test]
    fn what_was_not_touched_is_as_if_made_anew() {
        let mut seed = 42_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let sum = |table: &Table<u64, u64>, key: u64, reads: &Reads| -> u64 {
            let read = |row: u64| {
                reads.record(&row);
                table.get(&mut Cx::default(), &row).map_or(0, |value| **value)
            };
            // Which rows are read depends on what stands in the first.
            read(key) + (1..=read(key) % 3).map(|step| read((key + step) % 20)).sum::<u64>()
        };
        let mut table = Table::default();
        let mut kept: Vec<Option<(u64, Box<[Cell]>)>> = vec![None; 20];
        let mut made = 0;
        for _ in 0..1000 {
            let before = table.clone();
            for _ in 0..random(3) {
                let value = (random(4) != 0).then(|| random(5));
                table.set(random(20), value);
            }
            let mut touched = Touched::default();
            before.changes(&table).for_each(|key| touched.insert(key));
            for (key, row) in (0..).zip(&mut kept) {
                if row.as_ref().is_none_or(|(_, reads)| touched.reaches(reads)) {
                    let reads = Reads::default();
                    *row = Some((sum(&table, key, &reads), reads.take()));
                    made += 1;
                }
                assert_eq!(row.as_ref().map(|(value, _)| *value), Some(sum(&table, key, &Reads::default())));
            }
        }
        assert!(made < 20 * 1000 / 4, "{made} were made of 20,000");
    }

    #[test]
    fn equal_values_are_no_change_and_clones_are_snapshots() {
        let mut table = Table::default();
        let mut changed = Changed::default();
        assert!(changed.set(&mut table, 1, Some("a")));
        let before = table.clone();
        assert!(!table.set(1, Some("a")));
        assert!(table.set(1, Some("b")) && table.set(2, Some("c")) && table.set(1, None) && !table.set(1, None));
        let cx = &mut Cx::default();
        assert_eq!(before.get(cx, &1).map(|v| **v), Some("a"));
        assert_eq!(table.iter(cx).map(|(k, v)| (*k, **v)).collect::<Vec<_>>(), [(2, "c")]);
        assert_eq!(changed.0.into_iter().collect::<Vec<_>>(), [1]);
    }
}
