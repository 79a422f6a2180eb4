//! The terminal: a screen that is redrawn, or plain lines where the output is not a terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use super::record::{Count, ServiceVersion, Summary};
use super::state::State;

/// What the user may try; the folder stands in place of `{config}`.
const HINTS: [&str; 6] = [
    "edit the weights in {config}/routing.yaml and save: the shares move within a second",
    "break {config}/routing.yaml (delete a brace): istiod says where, traffic goes on",
    "raise a percentage in {config}/faults.yaml: payments fail or slow down",
    "set a shorter timeout in {config}/resilience.yaml while payments are slow",
    "kill istiod (key k, or kill -9 its pid): nothing fails",
    "start it again (key s): nothing is sent again",
];

/// How the demo shows itself.
pub enum Screen {
    /// Redrawn, on a terminal.
    Terminal {
        /// What the user may try.
        hints: String,
    },
    /// A line now and then.
    Lines {
        /// Pictures since the last line.
        skipped: u32,
    },
}

impl Screen {
    /// The screen for the standard output; `config` is the folder that istiod reads.
    pub fn new(config: &str) -> Self {
        let hints = HINTS.map(|hint| format!("  · {}\n", hint.replace("{config}", config))).concat();
        if std::io::stdout().is_terminal() {
            // The alternate screen, so that the user's own comes back; no cursor.
            print(&format!("\u{1b}[?1049h\u{1b}[?25l{}", "starting…\n"));
            return Self::Terminal { hints };
        }
        print(&format!("Try:\n{hints}"));
        Self::Lines { skipped: 0 }
    }

    /// Shows `state`.
    pub fn show(&mut self, state: &State) {
        match self {
            // Home, each line cleared behind its end, the rest cleared below; no wrapping of long lines.
            Self::Terminal { hints } => {
                let text = format!("{}\nTry:\n{hints}\nKeys: k kill istiod · s start istiod · q quit\n", overview(state));
                print(&format!("\u{1b}[?7l\u{1b}[H{}\u{1b}[J\u{1b}[?7h", text.replace('\n', "\u{1b}[K\n")));
            }
            Self::Lines { skipped } => {
                *skipped += 1;
                if *skipped >= 4 {
                    *skipped = 0;
                    print(&line(state));
                }
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if matches!(self, Self::Terminal { .. }) {
            print("\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l");
        }
    }
}

fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    // A terminal that is gone is no reason to stop: a signal will.
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}

fn overview(state: &State) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write_overview(&mut text, state);
    text
}

fn write_overview(text: &mut String, state: &State) -> std::fmt::Result {
    let recent = &state.last_ten_seconds;
    writeln!(text, "shop  {}   page {}", state.gateway, state.page)?;
    match state.istiod.pid {
        Some(pid) => writeln!(text, "istiod  pid {pid}   {}   log {}", state.istiod.debug, state.istiod.log)?,
        None => writeln!(text, "istiod  NOT RUNNING   (start: key s)")?,
    }
    writeln!(text)?;
    writeln!(
        text,
        "{} requests/s   {:.1} % failed   p50 {:.1} ms   p99 {:.1} ms   ({} since the start, {} failed)",
        state.last_second.requests,
        percent(recent.failures, recent.requests),
        recent.p50_ms,
        recent.p99_ms,
        state.total,
        state.failed
    )?;
    writeln!(text)?;
    writeln!(text, "{:<12}{:<9}{:<30}{:<14}failed", "service", "version", "share in the last second", "last 10 s")?;
    for (who, count) in &recent.versions {
        let second = share(&state.last_second, who);
        writeln!(
            text,
            "{:<12}{:<9}{:<22}{:>4.0} %  {:>5.0} %       {:>5.1} %",
            who.service,
            if who.version.is_empty() { "(Envoy)" } else { &who.version },
            bar(second),
            second,
            share(recent, who),
            percent(count.failures, count.answers)
        )?;
    }
    writeln!(text)?;
    let envoys = &state.envoys;
    writeln!(
        text,
        "Envoys  {} of {} connected   {} bytes from istiod   {} changes   {} updates refused",
        envoys.connected, envoys.envoys, envoys.bytes, envoys.changes, envoys.rejected
    )?;
    if let Some(back) = state.istiod_return {
        writeln!(
            text,
            "istiod came back: {} bytes in all (first configuration: {}), {} changes",
            back.bytes, back.first_bytes, back.changes
        )?;
    }
    if let Some(failure) = &recent.last_failure {
        writeln!(text, "last failure  {failure}")?;
    }
    for lost in &state.lost {
        writeln!(text, "HAS ENDED  {lost}")?;
    }
    for warning in &state.warnings {
        writeln!(text, "istiod says  {warning}")?;
    }
    Ok(())
}

fn line(state: &State) -> String {
    let recent = &state.last_second;
    let mut text = format!(
        "{:3} requests/s {:5.1} % failed p50 {:.1} ms p99 {:.1} ms |",
        recent.requests,
        percent(recent.failures, recent.requests),
        recent.p50_ms,
        recent.p99_ms
    );
    for who in recent.versions.keys().filter(|who| share(recent, who) < 99.9 || who.version.is_empty()) {
        text += &format!(" {} {} {:.0} %", who.service, who.version, share(recent, who));
    }
    let istiod = state.istiod.pid.map_or_else(|| "not running".to_owned(), |pid| format!("pid {pid}"));
    text += &format!(" | istiod {istiod}, {} of {} Envoys connected", state.envoys.connected, state.envoys.envoys);
    if let Some(warning) = state.warnings.last() {
        text += &format!(" | istiod says {warning}");
    }
    text + "\n"
}

/// The share, in percent, that a version has in the answers of its service.
fn share(summary: &Summary, who: &ServiceVersion) -> f64 {
    let answers = |count: &Count| count.answers;
    let all = summary.versions.iter().filter(|(other, _)| other.service == who.service).map(|(_, count)| answers(count)).sum();
    percent(summary.versions.get(who).map_or(0, answers), all)
}

#[allow(clippy::cast_precision_loss, reason = "counts of a minute are small")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is between 0 and 100")]
fn bar(share: f64) -> String {
    "█".repeat((share / 5.0).round() as usize)
}
