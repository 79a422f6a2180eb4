//! Contents that a proxy has refused: whoever connects afresh gets the last one that was accepted, until the resource
//! changes, or until some proxy turns out to have accepted what the other refused.

use crate::class::Class;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use xds_wire::{Change, Encoded, Hold, ResourceName, ResourceType, Version, View};

/// The types that proxies refuse for what stands in them.
const KINDS: [ResourceType; 3] = [ResourceType::Cluster, ResourceType::Listener, ResourceType::Route];

/// How many replaced contents a class remembers; a refusal comes within moments.
const REMEMBERED: usize = 128;

/// How many disputes are remembered.
const DISPUTES: usize = 4096;

/// What newer contents have replaced, the most recent ones.
#[derive(Default)]
pub struct Replaced(BTreeMap<(ResourceType, ResourceName), (u64, Arc<Encoded>)>);

impl Replaced {
    /// Takes note of what `now` replaces in `before`.
    pub fn note(&mut self, before: &View, now: &View) {
        for kind in KINDS {
            for change in before.of(kind).diff(now.of(kind)) {
                let key = (kind, change.name().clone());
                let accepted = before.holds().get(&key).map(|hold| hold.accepted.clone());
                match (change, accepted.or_else(|| before.of(kind).get(&key.1).cloned())) {
                    (Change::Set(_), Some(old)) => drop(self.0.insert(key, (now.revision, old))),
                    _ => drop(self.0.remove(&key)),
                }
            }
        }
        while self.0.len() > REMEMBERED {
            let Some(oldest) = self.0.iter().min_by_key(|(_, (revision, _))| *revision).map(|(key, _)| key.clone()) else { break };
            self.0.remove(&oldest);
        }
    }
}

/// The holds of `before` on contents that `now` still has.
pub fn still_held(before: &View, now: &View) -> BTreeMap<(ResourceType, ResourceName), Hold> {
    let stands = |((kind, name), hold): &(&(ResourceType, ResourceName), &Hold)| {
        now.of(*kind).get(name).is_some_and(|resource| resource.version == hold.refused)
    };
    before.holds().iter().filter(stands).map(|(key, hold)| (key.clone(), hold.clone())).collect()
}

/// The contents that one proxy has refused and another has accepted: they are not held back.
#[derive(Default)]
pub struct Disputed(BTreeSet<(ResourceType, Version)>);

impl Disputed {
    /// Holds refused contents back in the class whose proxy has refused them. Nothing is held back that was not there
    /// before: there is nothing to serve in its place. Says whether anything is.
    pub fn refuse(&self, class: &mut Class, revision: u64, kind: ResourceType, resources: &[(ResourceName, Version)]) -> bool {
        let mut holds = class.view.holds().clone();
        for (name, version) in resources.iter().filter(|(_, version)| !self.0.contains(&(kind, *version))) {
            let newest = class.view.of(kind).get(name).map(|resource| resource.version);
            let key = (kind, name.clone());
            if let Some((_, old)) = class.replaced.0.get(&key).filter(|_| newest == Some(*version))
                && old.version != *version
            {
                holds.insert(key, Hold { refused: *version, accepted: old.clone() });
            }
        }
        class.hold(revision, holds)
    }

    /// A content that some proxy has accepted is not held back any more, from nobody.
    pub fn accept(&mut self, kind: ResourceType, version: Version) {
        self.0.insert((kind, version));
        if self.0.len() > DISPUTES {
            self.0.pop_first();
        }
    }

    /// Gives up the holds of a class that are disputed; whether there were any.
    pub fn release(&self, class: &mut Class, revision: u64) -> bool {
        let mut holds = class.view.holds().clone();
        holds.retain(|(kind, _), hold| !self.0.contains(&(*kind, hold.refused)));
        class.hold(revision, holds)
    }
}

impl Class {
    fn hold(&mut self, revision: u64, holds: BTreeMap<(ResourceType, ResourceName), Hold>) -> bool {
        let other = *self.view.holds() != holds;
        if other {
            self.view = Arc::new(self.view.holding(revision, holds));
        }
        other
    }
}
