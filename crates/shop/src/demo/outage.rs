//! What the Envoys receive when istiod comes back: nothing, if all goes well.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::envoy_admin::Received;

/// How long after the last Envoy is back its bytes still count for the return of istiod.
const SETTLED: Duration = Duration::from_secs(2);

/// The sums over all Envoys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Envoys that answer.
    pub envoys: usize,
    /// Envoys with an open stream to istiod.
    pub connected: usize,
    /// Bytes from istiod.
    pub bytes: u64,
    /// Changes of clusters, listeners and routes.
    pub changes: u64,
    /// Updates refused.
    pub rejected: u64,
}

impl Totals {
    /// Sums up.
    pub fn of(received: &[(String, Received)]) -> Self {
        received.iter().fold(Self { envoys: received.len(), ..Self::default() }, |sum, (_, one)| Self {
            envoys: sum.envoys,
            connected: sum.connected + usize::from(one.is_connected),
            bytes: sum.bytes + one.bytes,
            changes: sum.changes + one.changes,
            rejected: sum.rejected + one.rejected,
        })
    }
}

/// What came after istiod had been gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Return {
    /// Bytes that all Envoys together received, HTTP/2 framing included.
    pub bytes: u64,
    /// Changes of clusters, listeners and routes in all Envoys.
    pub changes: u64,
    /// For comparison: bytes of the first configuration of all.
    pub first_bytes: u64,
}

/// Watches the totals for an outage and its end.
#[derive(Default)]
pub struct Outage {
    first_bytes: Option<u64>,
    before: Option<Totals>,
    connected_since: Option<Instant>,
    last_return: Option<Return>,
}

impl Outage {
    /// Takes the totals of this moment; returns what the last return of istiod has cost, once it is known.
    pub fn observe(&mut self, totals: Totals, now: Instant) -> Option<Return> {
        let first_bytes = *self.first_bytes.get_or_insert(totals.bytes);
        if totals.connected == 0 {
            self.before = Some(totals);
            self.connected_since = None;
        } else if totals.connected == totals.envoys {
            let since = *self.connected_since.get_or_insert(now);
            if let Some(before) = self.before {
                self.last_return = Some(Return {
                    bytes: totals.bytes.saturating_sub(before.bytes),
                    changes: totals.changes.saturating_sub(before.changes),
                    first_bytes,
                });
                if now.duration_since(since) > SETTLED {
                    self.before = None;
                }
            }
        }
        self.last_return
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_with_the_return_is_counted() {
        let totals = |connected, bytes| Totals { envoys: 2, connected, bytes, ..Totals::default() };
        let (mut outage, start) = (Outage::default(), Instant::now());
        assert_eq!(outage.observe(totals(2, 1000), start), None);
        assert_eq!(outage.observe(totals(0, 1100), start), None);
        let back = Some(Return { bytes: 20, changes: 0, first_bytes: 1000 });
        assert_eq!(outage.observe(totals(2, 1120), start), back);
        assert_eq!(outage.observe(totals(2, 1120), start + Duration::from_secs(3)), back);
        assert_eq!(outage.observe(totals(2, 9000), start + Duration::from_secs(4)), back);
    }
}
