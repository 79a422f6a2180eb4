//! Durations, percents and expressions.

use crate::report::{Field, Report};
use istio_api::{Duration, networking::virtual_service::Percent};

/// Checks a duration that must be at least a millisecond, in whole milliseconds (Istio's `ValidateDuration`).
pub(crate) fn duration(report: &mut Report, at: &Field<'_>, duration: Option<Duration>) {
    let Some(duration) = duration else { return };
    if duration.as_nanos() < 1_000_000 {
        report.error(at, "duration must be greater than 1ms");
    } else if duration.as_nanos() % 1_000_000 != 0 {
        report.error(at, "only durations to ms precision are supported");
    }
}

/// As [`duration`], but 0s is allowed, which turns the limit off.
pub(crate) fn duration_or_zero(report: &mut Report, at: &Field<'_>, limit: Option<Duration>) {
    duration(report, at, limit.filter(|limit| !limit.is_zero()));
}

/// Checks whole percents.
pub(crate) fn whole_percent(report: &mut Report, at: &Field<'_>, percent: i32) {
    if !(0..=100).contains(&percent) {
        report.error(at, format!("percentage {percent} is not in range 0..100"));
    }
}

/// Checks the share of a fault.
pub(crate) fn percent(report: &mut Report, at: &Field<'_>, percent: Option<&Percent>) {
    let Some(Percent { value }) = percent else { return };
    if *value != 0.0 && !(0.0001..=100.0).contains(value) {
        report.error(at, format!("percentage {value} is neither 0.0, nor in range [0.0001, 100.0]"));
    }
}

/// Checks an expression in RE2's syntax, which the regex crate shares but for details.
pub(crate) fn regex(report: &mut Report, at: &Field<'_>, place: &str, expression: &str) {
    if expression.len() > 1024 {
        report.error(at, format!("{place:?}: regex is too large, max length allowed is 1024"));
    } else if let Some(count) = repetitions(expression).find(|count| *count > MOST_REPETITIONS) {
        report.error(
            at,
            format!("{place:?}: error parsing regexp: invalid repeat count: {{{count}}}; RE2 repeats at most {MOST_REPETITIONS} times"),
        );
    } else if let Err(error) = regex::Regex::new(expression) {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        report.error(
            at,
            format!("{place:?}: error parsing regexp: {reason}; Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)"),
        );
    }
}

/// RE2 refuses more.
const MOST_REPETITIONS: u32 = 1000;

/// The numbers of `{n}`, `{n,}` and `{n,m}`.
fn repetitions(expression: &str) -> impl Iterator<Item = u32> {
    let inside = expression.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(inside, _)| inside);
    let counts = inside.filter(|inside| inside.bytes().all(|b| b.is_ascii_digit() || b == b','));
    counts.flat_map(|inside| inside.split(',')).filter_map(|number| number.parse().ok())
}
