//! What istiod's log warns of.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// How many warnings are kept.
const KEPT: usize = 5;

/// Follows a log and keeps its newest warnings and errors.
pub struct LogLines {
    path: PathBuf,
    offset: u64,
    unfinished: String,
    warnings: VecDeque<String>,
}

impl LogLines {
    /// Follows the log at `path` from its beginning; it may not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, unfinished: String::new(), warnings: VecDeque::new() }
    }

    /// Reads what was written since the last call, and returns the newest warnings, oldest first.
    pub fn refresh(&mut self) -> Vec<String> {
        // A log that cannot be read now is read the next time.
        if let Some(text) = self.read_new() {
            self.accept(&text);
        }
        self.warnings.iter().cloned().collect()
    }

    fn read_new(&mut self) -> Option<String> {
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(self.offset)).ok()?;
        let mut bytes = Vec::new();
        self.offset += u64::try_from(file.read_to_end(&mut bytes).ok()?).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn accept(&mut self, text: &str) {
        let text = std::mem::take(&mut self.unfinished) + text;
        let (complete, rest) = text.rsplit_once('\n').unwrap_or(("", &text));
        self.unfinished = rest.to_owned();
        for line in complete.lines().map(without_colours) {
            if line.contains("WARN") || line.contains("ERROR") || line.contains("panicked") {
                self.warnings.push_back(line);
            }
        }
        while self.warnings.len() > KEPT {
            self.warnings.pop_front();
        }
    }
}

fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_warnings_are_kept() {
        let mut log = LogLines::new(PathBuf::new());
        log.accept("1 INFO hello\n2 \u{1b}[33mWARN\u{1b}[0m routing.ya");
        assert_eq!(log.warnings, Vec::<String>::new());
        log.accept("ml:3: bad\n");
        assert_eq!(log.warnings, ["2 WARN routing.yaml:3: bad"]);
    }
}
