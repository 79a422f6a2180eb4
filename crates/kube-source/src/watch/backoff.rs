//! How long to wait before the next attempt.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(100);
/// Also the time by which a control plane may be late when its API server is back.
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles with every failure, up to a limit, and is never the same for two watches.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The time to wait after another failure: between half of the full time and all of it.
    pub fn next(&mut self) -> Duration {
        let full = LONGEST.min(FIRST.saturating_mul(1 << self.failures.min(16)));
        self.failures = self.failures.saturating_add(1);
        // The standard library's only source of chance: the keys of its hash maps.
        let chance = RandomState::new().hash_one(self.failures) % 1000;
        full / 2 + (full / 2).mul_f64(chance as f64 / 1000.0)
    }

    /// It works again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST, "{:?}", waits[0]);
        assert!(waits[39] >= LONGEST / 2 && waits.iter().all(|wait| *wait <= LONGEST));
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
