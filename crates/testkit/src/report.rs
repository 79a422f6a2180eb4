//! Runs something over all cases and tells what failed.

use crate::case::{self, Case};
use anyhow::Result;
use std::{
    collections::BTreeMap,
    fmt,
    io::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What came of one case.
pub enum Verdict {
    /// It was checked.
    Checked,
    /// It was checked in another way than it should be; the text says which.
    Adapted(String),
    /// It has nothing to check here.
    Nothing,
    /// It was not checked; the text says why.
    Skipped(String),
}

/// What failed, one paragraph each. As the error of a test it is shown as it is.
pub struct Failures(Vec<String>);

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed\n\n{}\n", self.0.len(), self.0.join("\n\n"))
    }
}

impl From<anyhow::Error> for Failures {
    fn from(error: anyhow::Error) -> Self {
        Self(vec![format!("{error:#}")])
    }
}

/// Runs `check` on every case, `workers` at a time, and prints under the name `what` the failures and what was skipped.
///
/// # Errors
/// If a case failed; the text names them all.
pub fn run(what: &str, workers: usize, check: impl Fn(&Case) -> Result<Verdict> + Sync) -> Result<(), Failures> {
    let cases = case::all()?;
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = check(case);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((&case.name, verdict));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(name, _)| *name);
    let (mut checked, mut adapted, mut skipped, mut failed) = (0, BTreeMap::<String, usize>::new(), Vec::new(), Vec::new());
    for (name, verdict) in results {
        match verdict {
            Ok(Verdict::Checked) => checked += 1,
            Ok(Verdict::Adapted(how)) => {
                checked += 1;
                *adapted.entry(how).or_default() += 1;
            }
            Ok(Verdict::Nothing) => {}
            Ok(Verdict::Skipped(why)) => skipped.push(format!("{name}: {why}")),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    // Written past the test harness, which would hide it.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\n{what}: {checked} cases checked, {} skipped, {} failed", skipped.len(), failed.len());
    for (how, count) in adapted {
        let _ = writeln!(out, "{what}: {count} of them {how}");
    }
    for line in &skipped {
        let _ = writeln!(out, "{what}: skipped {line}");
    }
    if failed.is_empty() { Ok(()) } else { Err(Failures(failed)) }
}
