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
                let warning = short(&line);
                // Two parts of istiod may say the same; once is enough.
                if !self.warnings.back().is_some_and(|last| last.starts_with(&warning)) {
                    self.warnings.push_back(warning);
                }
            }
        }
        while self.warnings.len() > KEPT {
            self.warnings.pop_front();
        }
    }
}

/// Time of day and message of a line `DATE-TIME LEVEL SCOPE: MESSAGE`; a line of another form stays as it is.
fn short(line: &str) -> String {
    let mut words = line.split_whitespace();
    let time = words.next().and_then(|word| word.split_once('T')).and_then(|(_, time)| time.split('.').next());
    let message = line.split_once(": ").map(|(_, message)| message);
    match (time, message) {
        (Some(time), Some(message)) => format!("{time} {message}"),
        _ => line.to_owned(),
    }
}

/// The first message in `log` that mentions `what`, without the marks of the log.
pub fn find_message(log: &str, what: &str) -> Option<String> {
    log.lines().map(without_colours).find(|line| line.contains(what)).map(|line| short(&line))
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
        log.accept("2026-01-02T03:04:05.6Z INFO ads: hello\n2026-01-02T03:04:06.7Z \u{1b}[33mWARN\u{1b}[0m config: routing.ya");
        assert_eq!(log.warnings, Vec::<String>::new());
        log.accept("ml:3: bad\n2026-01-02T03:04:06.8Z  WARN other: routing.yaml:3: bad\n");
        assert_eq!(log.warnings, ["03:04:06 routing.yaml:3: bad"]);
    }
}
