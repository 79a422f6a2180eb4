//! What became of the requests of the last minute.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::answer::Answer;

/// How long a request is remembered.
const MEMORY: Duration = Duration::from_secs(60);

/// One request.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was sent.
    pub at: Instant,
    /// How long it took.
    pub latency: Duration,
    /// What came back, with the answers of all services behind the first.
    pub answer: Answer,
}

/// The requests of the last minute, and the count of all.
#[derive(Default)]
pub struct Records {
    recent: VecDeque<Record>,
    total: u64,
    failed: u64,
}

/// A service and its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ServiceVersion {
    /// The service.
    pub service: String,
    /// Its version; empty for answers that came from an Envoy.
    pub version: String,
}

/// How many answers of a service version there were, and how many of them were failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// All answers.
    pub answers: u64,
    /// Those with another status than 2xx.
    pub failures: u64,
}

/// The requests of a span of time, summed up.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Requests.
    pub requests: u64,
    /// Requests that failed, or behind which a call failed.
    pub failures: u64,
    /// The latency that half of the requests stayed below, in milliseconds.
    pub p50_ms: f64,
    /// The latency that 99 of 100 requests stayed below, in milliseconds.
    pub p99_ms: f64,
    /// Answers by service and version.
    #[serde(serialize_with = "as_rows")]
    pub versions: BTreeMap<ServiceVersion, Count>,
    /// The newest failure: who failed and why.
    pub last_failure: Option<String>,
}

impl Records {
    /// Adds a request and forgets those that are older than a minute.
    pub fn push(&mut self, record: Record) {
        self.total += 1;
        self.failed += u64::from(!record.answer.is_success());
        while self.recent.front().is_some_and(|first| record.at.saturating_duration_since(first.at) > MEMORY) {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
    }

    /// Requests since the start, and how many of them failed.
    pub fn totals(&self) -> (u64, u64) {
        (self.total, self.failed)
    }

    /// The requests that were sent at or after `from` and before `to`.
    pub fn summary(&self, from: Instant, to: Instant) -> Summary {
        summarize(self.recent.iter().filter(|record| from <= record.at && record.at < to))
    }
}

/// Sums up requests, given in the order of time.
pub fn summarize<'a>(records: impl Iterator<Item = &'a Record>) -> Summary {
    let mut summary = Summary::default();
    let mut latencies = Vec::new();
    for record in records {
        summary.requests += 1;
        latencies.push(record.latency);
        if !record.answer.is_success() {
            summary.failures += 1;
            summary.last_failure = Some(failure(&record.answer));
        }
        record.answer.each(&mut |answer| {
            let key = ServiceVersion { service: answer.service.clone(), version: answer.version.clone() };
            let count = summary.versions.entry(key).or_default();
            count.answers += 1;
            count.failures += u64::from(!(200..300).contains(&answer.status));
        });
    }
    latencies.sort_unstable();
    summary.p50_ms = percentile(&latencies, 50);
    summary.p99_ms = percentile(&latencies, 99);
    summary
}

/// The failure that is deepest in the chain: those before it fail only because of it.
fn failure(answer: &Answer) -> String {
    if let Some(call) = answer.calls.iter().find(|call| !call.is_success()) {
        return failure(call);
    }
    let Answer { service, version, status, error, .. } = answer;
    let who = if version.is_empty() { format!("on the way to {service}") } else { format!("{service} {version}") };
    let status = if *status == 0 { "no answer".to_owned() } else { format!("status {status}") };
    if error.is_empty() { format!("{who}: {status}") } else { format!("{who}: {status}, {}", error.trim()) }
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

fn as_rows<S: serde::Serializer>(versions: &BTreeMap<ServiceVersion, Count>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row<'a> {
        #[serde(flatten)]
        who: &'a ServiceVersion,
        #[serde(flatten)]
        count: &'a Count,
    }
    serializer.collect_seq(versions.iter().map(|(who, count)| Row { who, count }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: &str, status: u16, milliseconds: u64) -> Record {
        let catalog =
            Answer { service: "catalog".to_owned(), version: version.to_owned(), status, error: String::new(), calls: Vec::new() };
        let status = if status == 200 { 200 } else { 502 };
        let answer =
            Answer { service: "frontend".to_owned(), version: "v1".to_owned(), status, error: String::new(), calls: vec![catalog] };
        Record { at: Instant::now(), latency: Duration::from_millis(milliseconds), answer }
    }

    #[test]
    fn versions_failures_and_latencies_are_summed_up() {
        let records = [record("v1", 200, 1), record("v1", 200, 2), record("v2", 500, 90)];
        let summary = summarize(records.iter());
        let counts: Vec<_> = summary
            .versions
            .iter()
            .map(|(who, count)| (who.service.as_str(), who.version.as_str(), count.answers, count.failures))
            .collect();
        assert_eq!(counts, [("catalog", "v1", 2, 0), ("catalog", "v2", 1, 1), ("frontend", "v1", 3, 1)]);
        assert_eq!((summary.requests, summary.failures), (3, 1));
        assert_eq!((summary.p50_ms, summary.p99_ms), (2.0, 90.0));
        assert_eq!(summary.last_failure.as_deref(), Some("catalog v2: status 500"));
    }
}
