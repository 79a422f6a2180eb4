//! Labels of workloads and the selectors over them.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The labels of one workload; shared, because thousands of endpoints carry the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(pub Arc<BTreeMap<String, String>>);

impl Labels {
    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether every pair of `wanted` is here; true for no pairs at all.
    pub fn contain(&self, wanted: &BTreeMap<String, String>) -> bool {
        wanted.iter().all(|(key, value)| self.get(key) == Some(value))
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(Arc::new(map))
    }
}

/// Which workloads an object is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Selector {
    /// No selector was given.
    Everything,
    /// All of these labels are required.
    Matching(BTreeMap<String, String>),
}

impl Selector {
    /// An absent or empty map selects everything, as in Istio's workload selectors.
    pub fn new(labels: BTreeMap<String, String>) -> Self {
        if labels.is_empty() { Self::Everything } else { Self::Matching(labels) }
    }

    /// Whether a workload with these labels is selected.
    pub fn selects(&self, labels: &Labels) -> bool {
        match self {
            Self::Everything => true,
            Self::Matching(wanted) => labels.contain(wanted),
        }
    }
}
