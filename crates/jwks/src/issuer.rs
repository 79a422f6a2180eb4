//! The life of one issuer's keys: when they are asked for, and until when they are good.

use crate::{Options, fetch::FetchError};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// No issuer that fails is left alone for longer.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What is known of one issuer.
#[derive(Debug)]
pub struct Issuer {
    /// The last good keys, unless they have become too old.
    keys: Option<Arc<str>>,
    /// When they were last confirmed.
    confirmed: Option<Instant>,
    failures: u32,
    /// When to ask next; `None` while an answer is awaited.
    due: Option<Instant>,
    attempted: bool,
}

/// What an attempt has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing that a proxy could see.
    Same,
    /// There are other keys than before, or none that are good any more.
    Keys(Option<Arc<str>>),
}

impl Issuer {
    /// One that is to be asked at once.
    pub fn new(now: Instant) -> Self {
        Self { keys: None, confirmed: None, failures: 0, due: Some(now), attempted: false }
    }

    /// One whose keys were known before the process started; it is asked at once nevertheless.
    pub fn known(keys: Arc<str>, confirmed: Instant, now: Instant) -> Self {
        Self { keys: Some(keys), confirmed: Some(confirmed), attempted: true, ..Self::new(now) }
    }

    /// The keys, and when they were confirmed.
    pub fn keys(&self) -> Option<(&Arc<str>, Instant)> {
        Some((self.keys.as_ref()?, self.confirmed?))
    }

    /// When to ask next; `None` while an answer is awaited.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it was asked once, with whatever success.
    pub fn attempted(&self) -> bool {
        self.attempted
    }

    /// It is being asked.
    pub fn asked(&mut self) {
        self.due = None;
    }

    /// It has answered, or not.
    pub fn answered(&mut self, answer: &Result<Arc<str>, FetchError>, options: &Options, now: Instant) -> Outcome {
        self.attempted = true;
        let before = self.keys.clone();
        match answer {
            Ok(keys) => {
                self.failures = 0;
                self.confirmed = Some(now);
                self.due = Some(now + options.refresh);
                // An equal text keeps its allocation.
                self.keys = before.clone().filter(|known| known == keys).or_else(|| Some(keys.clone()));
            }
            Err(_) => {
                let wait = options.retry.saturating_mul(1 << self.failures.min(16)).min(LONGEST_RETRY).min(options.refresh);
                self.failures = self.failures.saturating_add(1);
                self.due = Some(now + wait);
                if self.confirmed.is_some_and(|confirmed| now.duration_since(confirmed) >= options.lifetime) {
                    self.keys = None;
                }
            }
        }
        if self.keys == before { Outcome::Same } else { Outcome::Keys(self.keys.clone()) }
    }
}
