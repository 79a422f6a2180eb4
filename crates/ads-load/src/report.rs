//! What was measured, for people and programs.

use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

/// All phases.
#[derive(Default, Serialize, Debug)]
pub struct Report {
    /// Simulated proxies.
    pub streams: usize,
    /// In the order in which they ran.
    pub phases: Vec<Phase>,
    /// Streams that the server ended.
    pub failed_streams: u64,
}

/// One phase.
#[derive(Default, Serialize, Debug)]
pub struct Phase {
    /// What was done.
    pub name: String,
    /// From the start of the phase until the last receipt.
    pub seconds: f64,
    /// Milliseconds from each change (or the start) to each stream's receipt.
    pub each_stream_ms: Option<Spread>,
    /// Milliseconds from each change to the last stream's receipt.
    pub last_stream_ms: Option<Spread>,
    /// Changes in the phase.
    pub changes: usize,
    /// Receipts that did not come in time.
    pub missed: usize,
    /// Bytes to all streams.
    pub bytes: u64,
    /// Bytes to one stream, for each change, by type.
    pub bytes_per_stream_and_change: BTreeMap<String, f64>,
    /// The size of the resource that was changed.
    pub resource_bytes: u64,
    /// Resources that have nothing to do with the changes.
    pub other_resources: u64,
    /// The share of the first configuration that was sent again.
    pub resent_percent: Option<f64>,
    /// User and system time of the server.
    pub cpu_seconds: Option<f64>,
    /// Resident memory of the server at the end of the phase, in bytes.
    pub rss: Option<u64>,
}

/// A distribution, in milliseconds.
#[derive(Clone, Copy, PartialEq, Serialize, Debug)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let at = |percent: usize| {
            let index = (samples.len() * percent).div_ceil(100).checked_sub(1)?;
            samples.get(index).map(|sample| sample.as_secs_f64() * 1000.0)
        };
        Some(Self { p50: at(50)?, p99: at(99)?, max: at(100)? })
    }
}

impl Report {
    /// Everything came, in time.
    pub fn complete(&self) -> bool {
        self.failed_streams == 0 && self.phases.iter().all(|phase| phase.missed == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} streams, {} ended by the server", self.streams, self.failed_streams)?;
        writeln!(
            f,
            "{:<24} {:>8} {:>24} {:>24} {:>7} {:>7} {:>11} {:>8} {:>9}",
            "phase", "seconds", "each stream ms p50/p99", "last stream ms p50/p99", "missed", "others", "bytes", "CPU s", "RSS MB"
        )?;
        for phase in &self.phases {
            let spread = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |s| format!("{:.1}/{:.1}", s.p50, s.p99));
            let cpu = phase.cpu_seconds.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}"));
            let rss = phase.rss.map_or_else(|| "-".to_owned(), |rss| format!("{:.1}", rss as f64 / 1e6));
            writeln!(
                f,
                "{:<24} {:>8.3} {:>24} {:>24} {:>7} {:>7} {:>11} {:>8} {:>9}",
                phase.name,
                phase.seconds,
                spread(phase.each_stream_ms),
                spread(phase.last_stream_ms),
                phase.missed,
                phase.other_resources,
                phase.bytes,
                cpu,
                rss
            )?;
            let per = phase.bytes_per_stream_and_change.iter().filter(|(_, bytes)| **bytes > 0.0);
            let per: Vec<_> = per.map(|(kind, bytes)| format!("{kind} {bytes:.0}")).collect();
            if !per.is_empty() {
                let what = if phase.changes > 0 { " and change" } else { "" };
                write!(f, "    bytes per stream{what}: {}", per.join(", "))?;
                if phase.resource_bytes > 0 {
                    write!(f, " (the resource itself: {})", phase.resource_bytes)?;
                }
                writeln!(f)?;
            }
            if let Some(percent) = phase.resent_percent {
                writeln!(f, "    sent again: {percent:.3} % of the first configuration")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(Spread::of(samples), Some(Spread { p50: 100.0, p99: 198.0, max: 200.0 }));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
