//! Labels of workloads and the selectors over them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{cmp::Ordering, collections::BTreeMap, fmt, sync::Arc};

/// The labels of one workload; shared, because thousands of endpoints carry the same.
///
/// There are tens of thousands of them with a few entries each, so they are packed: a map of the standard library takes
/// room for eleven entries even if it has one.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels(Option<Arc<Packed>>);

/// At least one label, in the order of the keys.
#[derive(PartialEq, Eq, Hash)]
struct Packed {
    /// Key, value, key, value, …
    text: Box<str>,
    /// Where each of them ends.
    ends: Box<[usize]>,
}

impl Labels {
    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|(known, value)| (known == key).then_some(value))
    }

    /// All labels in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let (text, ends) = self.0.as_deref().map_or(("", [].as_slice()), |packed| (&*packed.text, &*packed.ends));
        let starts = std::iter::once(&0).chain(ends);
        let mut parts = starts.zip(ends).map(|(start, end)| text.get(*start..*end).unwrap_or_default());
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether somebody else holds the same allocation.
    pub fn is_shared(&self) -> bool {
        self.0.as_ref().is_some_and(|packed| Arc::strong_count(packed) > 1)
    }

    /// A map of them.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Whether every pair of `wanted` is here; true for no pairs at all.
    pub fn contain(&self, wanted: &BTreeMap<String, String>) -> bool {
        wanted.iter().all(|(key, value)| self.get(key) == Some(value))
    }

    /// Whether every pair of `wanted` is here; true for no pairs at all.
    pub fn contain_all(&self, wanted: &Labels) -> bool {
        wanted.iter().all(|(key, value)| self.get(key) == Some(value))
    }
}

impl From<&BTreeMap<String, String>> for Labels {
    fn from(map: &BTreeMap<String, String>) -> Self {
        if map.is_empty() {
            return Self::default();
        }
        let parts = || map.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
        let ends = parts().scan(0, |end, part| {
            *end += part.len();
            Some(*end)
        });
        Self(Some(Arc::new(Packed { text: parts().collect::<String>().into(), ends: ends.collect() })))
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self::from(&map)
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(BTreeMap::<String, String>::deserialize(deserializer)?))
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
