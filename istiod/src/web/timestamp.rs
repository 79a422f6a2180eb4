//! Times as Istio's pages show them.

use std::time::SystemTime;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// RFC 3339 in UTC; empty for a time beyond the year 9999.
pub fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}
