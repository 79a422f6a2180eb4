//! When a path is looked at again: the waiting between what the operating system reports and a file being read.
//!
//! A file that was closed after writing, or renamed into place, is read at once. Mere writing waits for the close, and
//! counts only after some quiet, so that a file written in steps is not taken half-written. A removal counts only after
//! some quiet, because editors save by removing or renaming first.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

/// How long a removed or half-written file must stay as it is.
pub const QUIET: Duration = Duration::from_millis(50);

/// What was reported of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// It is complete: closed after writing, renamed into place, or a link.
    Complete,
    /// It is being written.
    Written,
    /// Its owner, mode or times changed, which also happens right after it was completed.
    Touched,
    /// It is gone.
    Gone,
}

/// The paths that wait.
#[derive(Default, Debug)]
pub struct Settling {
    waiting: BTreeMap<PathBuf, Instant>,
}

impl Settling {
    /// Notes a report; a later one of the same path replaces it, unless it says less.
    pub fn note(&mut self, path: PathBuf, report: Report, now: Instant) {
        match report {
            Report::Complete => self.waiting.insert(path, now),
            Report::Written | Report::Gone => self.waiting.insert(path, now + QUIET),
            Report::Touched => Some(*self.waiting.entry(path).or_insert(now + QUIET)),
        };
    }

    /// When the next path is due.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    /// Takes the paths that are due.
    pub fn take_due(&mut self, now: Instant) -> Vec<PathBuf> {
        let (due, waiting): (BTreeMap<_, _>, _) = std::mem::take(&mut self.waiting).into_iter().partition(|(_, at)| *at <= now);
        self.waiting = waiting;
        due.into_keys().collect()
    }

    /// The paths that still wait.
    pub fn waiting(&self) -> impl Iterator<Item = &Path> {
        self.waiting.keys().map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_written_in_steps_is_read_when_it_is_closed() {
        let (mut settling, start, path) = (Settling::default(), Instant::now(), PathBuf::from("a.yaml"));
        for step in 0..10 {
            let now = start + step * (QUIET - Duration::from_millis(1));
            assert!(settling.take_due(now).is_empty());
            settling.note(path.clone(), Report::Written, now);
        }
        let closed = start + 10 * QUIET;
        settling.note(path.clone(), Report::Complete, closed);
        settling.note(path.clone(), Report::Touched, closed);
        assert_eq!(settling.next(), Some(closed));
        assert_eq!(settling.take_due(closed), [path]);
        assert_eq!(settling.next(), None);
    }

    #[test]
    fn a_removal_counts_after_some_quiet_and_not_if_the_file_comes_back() {
        let (mut settling, start, path) = (Settling::default(), Instant::now(), PathBuf::from("a.yaml"));
        settling.note(path.clone(), Report::Gone, start);
        assert!(settling.take_due(start + QUIET / 2).is_empty());
        settling.note(path.clone(), Report::Complete, start + QUIET / 2);
        assert_eq!(settling.take_due(start + QUIET / 2), std::slice::from_ref(&path));
        settling.note(path.clone(), Report::Gone, start + QUIET);
        assert_eq!(settling.take_due(start + QUIET * 2), [path]);
    }
}
