//! Runs something over all cases and tells what failed.

use crate::case::{self, Case};
use anyhow::Result;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// What came of one case.
pub enum Verdict {
    /// It was checked.
    Checked,
    /// It was not; the text says why.
    Skipped(String),
}

/// Runs `check` on every case, `workers` at a time, and prints the failures and what was skipped.
///
/// # Errors
/// If a case failed; the text names them all.
pub fn run(workers: usize, check: impl Fn(&Case) -> Result<Verdict> + Sync) -> Result<()> {
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
    let (mut checked, mut skipped, mut failed) = (0, Vec::new(), Vec::new());
    for (name, verdict) in results {
        match verdict {
            Ok(Verdict::Checked) => checked += 1,
            Ok(Verdict::Skipped(why)) => skipped.push(format!("{name}: {why}")),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    println!("{checked} cases checked, {} skipped, {} failed", skipped.len(), failed.len());
    for line in &skipped {
        println!("skipped {line}");
    }
    anyhow::ensure!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}
