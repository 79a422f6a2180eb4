//! What a computation has read, so that it is run again only when some of that has changed.

use rustc_hash::{FxHashSet, FxHasher};
use std::{
    cell::RefCell,
    hash::{Hash, Hasher},
};

/// One position that computations read. It is a hash: two positions that collide only cause a needless run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cell(u64);

impl Cell {
    /// The position of `key`. The type of a key is not part of it.
    pub fn of<K: Hash + ?Sized>(key: &K) -> Self {
        let mut hasher = FxHasher::default();
        key.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Records the cells that one computation reads, present or absent.
#[derive(Default, Debug)]
pub struct Reads(RefCell<Vec<Cell>>);

impl Reads {
    /// The computation depends on what is at this position.
    pub fn record<K: Hash + ?Sized>(&self, key: &K) {
        self.0.borrow_mut().push(Cell::of(key));
    }

    /// What was recorded since the last call, each cell once.
    pub fn take(&self) -> Box<[Cell]> {
        let mut cells = self.0.take();
        cells.sort_unstable();
        cells.dedup();
        cells.into()
    }
}

/// The cells that changed in a turn.
#[derive(Default, Clone, Debug)]
pub struct Touched(FxHashSet<Cell>);

impl Touched {
    /// Something has changed there.
    pub fn insert<K: Hash + ?Sized>(&mut self, key: &K) {
        self.0.insert(Cell::of(key));
    }

    /// Whether a computation that has read these must run again.
    pub fn reaches(&self, reads: &[Cell]) -> bool {
        !self.0.is_empty() && reads.iter().any(|cell| self.0.contains(cell))
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
