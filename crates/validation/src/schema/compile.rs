//! From the schema of a kind to a tree that holds only the fields with rules.

use super::expression::Rule;
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;

/// The rules of a value and of what is below it.
#[derive(Default)]
pub(super) struct Node {
    /// Of the value itself.
    pub constraints: Vec<Constraint>,
    /// In CEL.
    pub rules: Vec<Rule>,
    /// Of the fields of a message.
    pub fields: BTreeMap<String, Node>,
    /// Of the items of a list or the values of a map.
    pub each: Option<Box<Node>>,
}

/// A rule without an expression.
pub(super) enum Constraint {
    /// These fields must be set.
    Required(Vec<String>),
    /// Characters of a text.
    MinLength(usize),
    /// Characters of a text.
    MaxLength(usize),
    /// Items of a list, or entries of a map.
    MinItems(usize),
    /// Items of a list, or entries of a map.
    MaxItems(usize),
    /// Of a number with a fraction.
    Minimum(f64),
    /// Of a number with a fraction.
    Maximum(f64),
    /// An expression for a text, and how it is written.
    Pattern(Regex),
    /// No two items have the same values in these fields.
    Distinct(Vec<String>),
}

impl Node {
    fn is_empty(&self) -> bool {
        self.constraints.is_empty() && self.rules.is_empty() && self.fields.is_empty() && self.each.is_none()
    }
}

/// The tree of `schema`; none if there is no rule in it.
pub(super) fn node(schema: &Value) -> Option<Node> {
    let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let node = Node {
        constraints: constraints(schema),
        rules: array(schema, "x-kubernetes-validations").iter().filter_map(Rule::compile).collect(),
        fields: fields.filter_map(|(name, schema)| Some((name.clone(), node(schema)?))).collect(),
        each: schema.get("items").or_else(|| schema.get("additionalProperties")).and_then(node).map(Box::new),
    };
    (!node.is_empty()).then_some(node)
}

fn array<'a>(schema: &'a Value, keyword: &str) -> &'a [Value] {
    schema.get(keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn names(schema: &Value, keyword: &str) -> Option<Vec<String>> {
    let names: Vec<String> = array(schema, keyword).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    (!names.is_empty()).then_some(names)
}

fn constraints(schema: &Value) -> Vec<Constraint> {
    let count = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    // Those of integers are checked when a document is decoded.
    let is_number = schema.get("type").and_then(Value::as_str) == Some("number");
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64).filter(|_| is_number);
    let pattern = schema.get("pattern").and_then(Value::as_str);
    [
        names(schema, "required").map(Constraint::Required),
        count("minLength").map(Constraint::MinLength),
        count("maxLength").map(Constraint::MaxLength),
        count("minItems").or(count("minProperties")).map(Constraint::MinItems),
        count("maxItems").or(count("maxProperties")).map(Constraint::MaxItems),
        bound("minimum").map(Constraint::Minimum),
        bound("maximum").map(Constraint::Maximum),
        pattern.and_then(|pattern| Regex::new(pattern).ok()).map(Constraint::Pattern),
        names(schema, "x-kubernetes-list-map-keys").map(Constraint::Distinct),
    ]
    .into_iter()
    .flatten()
    .collect()
}
