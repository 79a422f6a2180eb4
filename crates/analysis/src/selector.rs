//! Selectors in Kubernetes' words.

use base::Labels;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `a=b,c=d`, as Kubernetes prints a selector.
pub(crate) fn text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The path of the first label of a selector, where a finding about the selector stands.
pub(crate) fn first_label(path: &str, labels: &BTreeMap<String, String>) -> String {
    labels.keys().next().map_or_else(|| path.to_owned(), |key| format!("{path}[{key}]"))
}

/// Kubernetes' `LabelSelector`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// All of these are required.
    pub match_labels: BTreeMap<String, String>,
    /// All of these must hold.
    pub match_expressions: Vec<Requirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// For the first two.
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether something with these labels is selected; nothing is if an operator is unknown.
    pub(crate) fn selects(&self, labels: &Labels) -> bool {
        labels.contain(&self.match_labels) && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.iter().any(|wanted| wanted == value));
        match self.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}
