//! Remembers which tokens were found to be good, by their hash.

use super::jwt::Claims;
use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The hash of a token and of the cluster that it is said to come from.
pub(crate) type Key = [u8; 32];

/// A bounded memory of verified tokens. It has two halves: when the newer one is full, the older one is forgotten, and
/// what is asked for in between moves from the older to the newer. So what is used stays, at constant cost.
pub(crate) struct Cache {
    halves: Mutex<Halves>,
    half: usize,
}

#[derive(Default)]
struct Halves {
    newer: HashMap<Key, Arc<Claims>>,
    older: HashMap<Key, Arc<Claims>>,
}

impl Cache {
    /// A memory of at most `capacity` tokens.
    pub fn new(capacity: usize) -> Self {
        Self { halves: Mutex::default(), half: (capacity / 2).max(1) }
    }

    /// The claims of a token that was found to be good and has not expired at `now`, in seconds since 1970.
    pub fn get(&self, key: &Key, now: i64) -> Option<Arc<Claims>> {
        let mut halves = self.lock();
        if let Some(claims) = halves.newer.get(key).cloned() {
            if claims.expires > now {
                return Some(claims);
            }
            halves.newer.remove(key);
            return None;
        }
        let claims = halves.older.remove(key).filter(|claims| claims.expires > now)?;
        self.put(&mut halves, *key, claims.clone());
        Some(claims)
    }

    /// Remembers a good token.
    pub fn insert(&self, key: Key, claims: Arc<Claims>) {
        self.put(&mut self.lock(), key, claims);
    }

    /// Forgets everything: what was good under other keys may not be any more.
    pub fn clear(&self) {
        *self.lock() = Halves::default();
    }

    fn put(&self, halves: &mut Halves, key: Key, claims: Arc<Claims>) {
        if halves.newer.len() >= self.half {
            halves.older = mem::take(&mut halves.newer);
        }
        halves.newer.insert(key, claims);
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
