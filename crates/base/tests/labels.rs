//! Labels are packed, and are a map all the same.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use base::Labels;
use std::collections::BTreeMap;

#[test]
fn packed_labels_are_a_map() {
    let labels: Labels = serde_json::from_str(r#"{"version":"v1","app":"","a":"ä"}"#).unwrap();
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "ä"), ("app", ""), ("version", "v1")]);
    assert_eq!((labels.get("app"), labels.get("version"), labels.get("v")), (Some(""), Some("v1"), None));
    assert_eq!(serde_json::to_string(&labels).unwrap(), r#"{"a":"ä","app":"","version":"v1"}"#);
    assert_eq!((Labels::from(labels.to_map()), Labels::from(BTreeMap::new())), (labels.clone(), Labels::default()));
    assert!(labels.contain_all(&Labels::default()) && !Labels::default().contain_all(&labels));
    // Where one ends is part of it.
    let other = |key: &str, value: &str| Labels::from(BTreeMap::from([(key.to_owned(), value.to_owned())]));
    assert!(other("ab", "c") != other("a", "bc") && other("a", "bc") < other("ab", "c"));
}
