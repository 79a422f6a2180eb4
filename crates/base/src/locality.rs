//! Where a workload runs.

use crate::Labels;
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

    /// What the labels of a workload say: Istio's own in one, else those of topology, which Kubernetes copies from the node.
    pub fn of_labels(labels: &Labels) -> Self {
        if let Some(text) = labels.get("topology.istio.io/locality").or_else(|| labels.get("istio-locality")) {
            return Self::parse(text);
        }
        let part = |key: &str| Arc::from(labels.get(key).unwrap_or_default());
        Self {
            region: part("topology.kubernetes.io/region"),
            zone: part("topology.kubernetes.io/zone"),
            subzone: part("topology.istio.io/subzone"),
        }
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
