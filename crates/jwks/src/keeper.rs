//! What of the keys is kept, and when.

use crate::store::{AllKnown, KeyStore, KnownKeys, merged, now};
use config::JwksSource;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// Changes of this time are written together.
const TOGETHER: Duration = Duration::from_secs(1);
/// After a failure the next attempt comes so much later.
const RETRY: Duration = Duration::from_secs(60);
/// No store may take longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keys that stay the same are written again after this part of their lifetime.
const REMINDERS: u32 = 8;

/// Keeps keys in a store, if there is one.
pub struct Keeper {
    store: Option<Arc<dyn KeyStore>>,
    lifetime: Duration,
    known: AllKnown,
    due: Option<Instant>,
}

impl Keeper {
    /// Knows nothing yet.
    pub fn new(store: Option<Arc<dyn KeyStore>>, lifetime: Duration) -> Self {
        Self { store, lifetime, known: AllKnown::new(), due: None }
    }

    /// Reads what is kept. A store that does not answer keeps nobody waiting for long.
    pub async fn load(&mut self) {
        let Some(store) = &self.store else { return };
        match timeout(PATIENCE, store.load()).await.unwrap_or_else(|_| Err("no answer".to_owned())) {
            Ok(known) => self.known = known,
            Err(error) => tracing::error!("the keys of issuers that were kept are not read: {error}; they are fetched anew"),
        }
    }

    /// Keys of an issuer that are not too old, and when they were confirmed.
    pub fn recall(&self, source: &JwksSource, at: Instant) -> Option<(Arc<str>, Instant)> {
        let KnownKeys { keys, confirmed } = self.known.get(source)?;
        // A time that has not come yet is a clock that was put back: then nobody knows how old they are.
        let age = Duration::from_secs(now().checked_sub(*confirmed)?);
        let confirmed = at.checked_sub(age).filter(|_| age < self.lifetime)?;
        Some((keys.clone(), confirmed))
    }

    /// The keys of an issuer as they are known now.
    pub fn note(&mut self, source: &JwksSource, keys: &Arc<str>, confirmed: Instant) {
        if self.store.is_none() {
            return;
        }
        let keys = KnownKeys { keys: keys.clone(), confirmed: now().saturating_sub(confirmed.elapsed().as_secs()) };
        let next = merged(&self.known, &AllKnown::from([(source.clone(), keys)]), self.lifetime / REMINDERS);
        if next != self.known {
            self.known = next;
            self.due.get_or_insert_with(|| Instant::now() + TOGETHER);
        }
    }

    /// When something is to be written.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes what is known, but for what is too old.
    pub async fn save(&mut self) {
        self.due = None;
        let Some(store) = &self.store else { return };
        let (at, lifetime) = (now(), self.lifetime.as_secs());
        self.known.retain(|_, keys| at.saturating_sub(keys.confirmed) < lifetime);
        let saved = timeout(PATIENCE, store.save(&self.known)).await.unwrap_or_else(|_| Err("no answer".to_owned()));
        if let Err(error) = saved {
            tracing::warn!("the keys of issuers are not kept: {error}; if their issuer is away at the next start, its tokens are refused");
            self.due = Some(Instant::now() + RETRY);
        }
    }
}
