//! Who depends on what: from a changed row to the services that must be built again.

use crate::ServiceKey;
use config::Key;
use std::collections::{BTreeMap, BTreeSet};

/// A relation that is kept from its left side and asked from its right side.
#[derive(Clone, Debug)]
pub struct Relation<L, R> {
    forward: BTreeMap<L, BTreeSet<R>>,
    backward: BTreeMap<R, BTreeSet<L>>,
}

impl<L, R> Default for Relation<L, R> {
    fn default() -> Self {
        Self { forward: BTreeMap::new(), backward: BTreeMap::new() }
    }
}

impl<L: Ord + Clone, R: Ord + Clone> Relation<L, R> {
    /// Replaces everything that `left` is related to.
    pub fn replace(&mut self, left: &L, rights: BTreeSet<R>) {
        let old = if rights.is_empty() { self.forward.remove(left) } else { self.forward.insert(left.clone(), rights.clone()) };
        for right in old.into_iter().flatten().filter(|right| !rights.contains(right)) {
            if let Some(lefts) = self.backward.get_mut(&right) {
                lefts.remove(left);
                if lefts.is_empty() {
                    self.backward.remove(&right);
                }
            }
        }
        for right in rights {
            self.backward.entry(right).or_default().insert(left.clone());
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
