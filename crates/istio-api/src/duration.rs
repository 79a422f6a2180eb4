//! Durations as users write them: Go's syntax (`1h30m`, `1.5s`, `100ms`), which Istio's CRDs accept.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{borrow::Cow, fmt, ops::Deref, str::FromStr};

/// A span of time that is not negative, in nanoseconds precision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Duration(pub std::time::Duration);

impl Duration {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }
}

impl Deref for Duration {
    type Target = std::time::Duration;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Why a text is no duration; the text of the error is for users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DurationError(String);

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DurationError {}

impl FromStr for Duration {
    type Err = DurationError;

    /// Go's `time.ParseDuration` without negative values.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('-') {
            return Err(DurationError(format!("\"{text}\" is negative; a duration must be 0s or longer")));
        }
        nanoseconds(text.strip_prefix('+').unwrap_or(text))
            .map(|nanoseconds| Self(std::time::Duration::from_nanos(nanoseconds)))
            .ok_or_else(|| {
                DurationError(format!("\"{text}\" is not a duration; write numbers with units such as 5s, 1.5s, 100ms or 1h30m"))
            })
    }
}

/// The sum of the parts, `None` if a part is malformed or the sum exceeds Go's range (292 years).
fn nanoseconds(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|letter: char| letter == '.' || letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        total = total.checked_add(part(whole, fraction, unit_nanoseconds(unit)?)?)?;
        rest = after;
    }
    (total <= i64::MAX.unsigned_abs()).then_some(total)
}

/// `whole.fraction` times `unit`; digits of the fraction below a nanosecond are cut, as Go does.
fn part(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut below: u64 = 0;
    let mut scale = unit;
    for digit in fraction.bytes() {
        // Scaled digit by digit in 1/10 steps of the unit; hours have 13 decimal places of nanoseconds at most.
        below = below.checked_add(u64::from(digit - b'0').checked_mul(scale)? / 10)?;
        scale /= 10;
    }
    whole.checked_mul(unit)?.checked_add(below)
}

/// The leading ASCII digits and the rest.
fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()))
}

fn unit_nanoseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

impl fmt::Display for Duration {
    /// Proto JSON's form: seconds with 0, 3, 6 or 9 decimal places, `1.500s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanoseconds) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanoseconds == 0 {
            write!(f, "{seconds}s")
        } else if nanoseconds % 1_000_000 == 0 {
            write!(f, "{seconds}.{:03}s", nanoseconds / 1_000_000)
        } else if nanoseconds % 1_000 == 0 {
            write!(f, "{seconds}.{:06}s", nanoseconds / 1_000)
        } else {
            write!(f, "{seconds}.{nanoseconds:09}s")
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Not `format: duration`, which is ISO 8601's in JSON Schema.
        let rules = crate::schema::cel(&[(
            "duration(self) >= duration('1ms')",
            "must be a duration of at least 1ms, such as 5s, 1.5s, 100ms or 1h30m",
            "",
        )]);
        json_schema!({ "type": "string", "x-duration": true, "x-kubernetes-validations": rules })
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn parses_what_go_parses() {
        let nanoseconds = |text: &str| text.parse::<Duration>().map(|d| d.as_nanos()).ok();
        assert_eq!(nanoseconds("5s"), Some(5_000_000_000));
        assert_eq!(nanoseconds("1.5s"), Some(1_500_000_000));
        assert_eq!(nanoseconds("0.25h"), Some(900_000_000_000));
        assert_eq!(nanoseconds("1h30m"), Some(5_400_000_000_000));
        assert_eq!(nanoseconds("300us"), Some(300_000));
        assert_eq!(nanoseconds(".5ms"), Some(500_000));
        assert_eq!(nanoseconds("0"), Some(0));
        for wrong in ["", "5", "s", "-1s", "5 s", "1d", "1.s.", ".s", "300000000h"] {
            assert_eq!(nanoseconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn writes_proto_json() {
        for (text, canonical) in [("90m", "5400s"), ("1.5s", "1.500s"), ("300us", "0.000300s"), ("1ns", "0.000000001s"), ("0s", "0s")] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), canonical);
        }
    }
}
