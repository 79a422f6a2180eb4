//! Where a workload runs.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Region, zone and sub-zone; an empty part is unknown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Locality {
    /// `topology.kubernetes.io/region`.
    pub region: Arc<str>,
    /// `topology.kubernetes.io/zone`.
    pub zone: Arc<str>,
    /// `topology.istio.io/subzone`.
    pub subzone: Arc<str>,
}

impl Locality {
    /// Parses `region/zone/subzone`; missing parts are empty. A label value cannot hold `/`, so that Istio also takes
    /// `.` as the mark between the parts if there is no `/`.
    pub fn parse(text: &str) -> Self {
        let mark = if text.contains('/') { '/' } else { '.' };
        let mut parts = text.splitn(3, mark).map(Arc::from);
        let mut next = || parts.next().unwrap_or_default();
        Self { region: next(), zone: next(), subzone: next() }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.subzone.is_empty()
    }
}

impl fmt::Display for Locality {
    /// `region/zone/subzone`, without the empty tail.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}/{}/{}", self.region, self.zone, self.subzone);
        f.write_str(text.trim_end_matches('/'))
    }
}
