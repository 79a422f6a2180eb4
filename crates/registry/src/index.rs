//! Who depends on what: from a changed row to the services that must be built again.

use crate::ServiceKey;
use config::Key;
use std::collections::{BTreeMap, BTreeSet};

/// A relation that is kept from its left side and asked from its right side. Nearly everything is related to one or two
/// things, so these are kept in lists; a set would take room for eleven.
#[derive(Clone, Debug)]
pub struct Relation<L, R> {
    forward: BTreeMap<L, Box<[R]>>,
    backward: BTreeMap<R, Box<[L]>>,
}

impl<L, R> Default for Relation<L, R> {
    fn default() -> Self {
        Self { forward: BTreeMap::new(), backward: BTreeMap::new() }
    }
}

impl<L: Ord + Clone, R: Ord + Clone> Relation<L, R> {
    /// Replaces everything that `left` is related to.
    pub fn replace(&mut self, left: &L, rights: BTreeSet<R>) {
        let old = self.forward.remove(left).unwrap_or_default();
        for right in old.iter().filter(|right| !rights.contains(right)) {
            let Some(lefts) = self.backward.get_mut(right) else { continue };
            *lefts = std::mem::take(lefts).into_iter().filter(|known| known != left).collect();
            if lefts.is_empty() {
                self.backward.remove(right);
            }
        }
        for right in &rights {
            let lefts = self.backward.entry(right.clone()).or_default();
            if let Err(place) = lefts.binary_search(left) {
                let mut more = std::mem::take(lefts).into_vec();
                more.insert(place, left.clone());
                *lefts = more.into();
            }
        }
        if !rights.is_empty() {
            self.forward.insert(left.clone(), rights.into_iter().collect());
        }
    }

    /// What `left` is related to.
    pub fn of(&self, left: &L) -> impl Iterator<Item = &R> {
        self.forward.get(left).into_iter().flatten()
    }

    /// What is related to `right`.
    pub fn by(&self, right: &R) -> impl Iterator<Item = &L> {
        self.backward.get(right).into_iter().flatten()
    }
}

/// The relations of the registry.
#[derive(Clone, Default, Debug)]
pub struct Index {
    /// Slice → the service that its label names.
    pub slices: Relation<Key, ServiceKey>,
    /// Service → the pods that its slices refer to.
    pub pods: Relation<ServiceKey, Key>,
    /// ServiceEntry → its services.
    pub entries: Relation<Key, ServiceKey>,
    /// ServiceEntries that select workloads, so that a Pod or WorkloadEntry of their namespace matters to them.
    pub selecting: BTreeSet<Key>,
}
