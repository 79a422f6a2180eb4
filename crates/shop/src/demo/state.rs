//! One picture of the running demo: what the screen and the page show.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::outage::{Return, Totals};
use super::record::{Records, Summary};

/// The picture.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Where the gateway takes requests.
    pub gateway: String,
    /// The address of the page.
    pub page: String,
    /// istiod.
    pub istiod: IstiodState,
    /// Requests since the start.
    pub total: u64,
    /// How many of them failed.
    pub failed: u64,
    /// The last whole second.
    pub last_second: Summary,
    /// The last ten seconds.
    pub last_ten_seconds: Summary,
    /// The last minute, second by second, oldest first.
    pub seconds: Vec<Summary>,
    /// What the Envoys have received.
    pub envoys: Totals,
    /// What they received when istiod came back, if it was gone.
    pub istiod_return: Option<Return>,
    /// The newest warnings of istiod, oldest first.
    pub warnings: Vec<String>,
    /// Processes that have ended on their own.
    pub lost: Vec<String>,
}

/// istiod in the picture.
#[derive(Clone, Debug, Serialize)]
pub struct IstiodState {
    /// Its process id, if it runs.
    pub pid: Option<u32>,
    /// How to start it by hand.
    pub command: String,
    /// Its log.
    pub log: String,
    /// Its debug pages.
    pub debug: String,
}

/// The last second, the last ten, and the last minute second by second. Requests on their way for longer than a moment
/// count in the second in which they were sent, once they are answered.
pub fn summaries(records: &Records, now: Instant) -> (Summary, Summary, Vec<Summary>) {
    let second = Duration::from_secs(1);
    let ago = |seconds: u32| now.checked_sub(second * seconds).unwrap_or(now);
    let minute = (1..=60).rev().map(|seconds| records.summary(ago(seconds), ago(seconds - 1))).collect();
    (records.summary(ago(1), now), records.summary(ago(10), now), minute)
}
