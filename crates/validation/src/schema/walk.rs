//! A value along the tree of rules.

use super::{
    compile::{Constraint, Node},
    expression::to_cel,
};
use crate::report::{Field, Report};
use serde_json::Value;
use std::collections::BTreeSet;

/// Reports every rule that `value` breaks, at the field where the API server would report it.
pub(super) fn walk(report: &mut Report, at: &Field<'_>, value: &Value, node: &Node) {
    let before = report.diagnostics.len();
    for constraint in &node.constraints {
        check(report, at, value, constraint);
    }
    match value {
        Value::Object(fields) if node.each.is_none() => {
            for (name, node) in &node.fields {
                if let Some(value) = fields.get(name) {
                    walk(report, &at.key(name), value, node);
                }
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                node.each.iter().for_each(|node| walk(report, &at.key(key), value, node));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                node.each.iter().for_each(|node| walk(report, &at.index(index), item, node));
            }
        }
        _ => {}
    }
    // The API server evaluates no expression on a value that breaks the schema.
    if node.rules.is_empty() || report.diagnostics.len() > before {
        return;
    }
    let cel = to_cel(value);
    for rule in node.rules.iter().filter(|rule| !rule.holds(&cel)) {
        let message = format!("{}{}", rule.message, found(value));
        match rule.field.strip_prefix('.') {
            Some(field) => report.error(&at.key(field), message),
            None => report.error(at, message),
        }
    }
}

/// What stands there, if it is short.
fn found(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > 80 => String::new(),
        Value::Object(_) | Value::Array(_) | Value::Null => String::new(),
        value => format!(" (found {value})"),
    }
}

fn check(report: &mut Report, at: &Field<'_>, value: &Value, constraint: &Constraint) {
    match (constraint, value) {
        (Constraint::Required(names), Value::Object(fields)) => {
            for name in names.iter().filter(|name| !fields.contains_key(*name)) {
                report.error(&at.key(name), format!("{name} is missing; it must be set"));
            }
        }
        (Constraint::MinLength(least), Value::String(text)) if text.chars().count() < *least => {
            let message = if *least == 1 {
                "cannot be empty; write a value or leave it out".into()
            } else {
                format!("must have at least {least} characters")
            };
            report.error(at, message);
        }
        (Constraint::MaxLength(most), Value::String(text)) if text.chars().count() > *most => {
            report.error(at, format!("has {} characters; no more than {most} are allowed", text.chars().count()));
        }
        (Constraint::MinItems(least), _) if size(value).is_some_and(|size| size < *least) => {
            report.error(at, format!("must have at least {least} entries; add them or leave it out"));
        }
        (Constraint::MaxItems(most), _) if size(value).is_some_and(|size| size > *most) => {
            report.error(at, format!("has {} entries; no more than {most} are allowed", size(value).unwrap_or_default()));
        }
        (Constraint::Minimum(least), Value::Number(number)) if number.as_f64().is_some_and(|number| number < *least) => {
            report.error(at, format!("{number} is too small; the least value is {least}"));
        }
        (Constraint::Maximum(most), Value::Number(number)) if number.as_f64().is_some_and(|number| number > *most) => {
            report.error(at, format!("{number} is too large; the greatest value is {most}"));
        }
        (Constraint::Pattern(pattern), Value::String(text)) if !pattern.is_match(text) => {
            report.error(at, format!("{text:?} does not match the pattern {pattern}"));
        }
        (Constraint::Distinct(names), Value::Array(items)) => distinct(report, at, names, items),
        _ => {}
    }
}

fn size(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) => Some(items.len()),
        Value::Object(entries) => Some(entries.len()),
        _ => None,
    }
}

fn distinct(report: &mut Report, at: &Field<'_>, names: &[String], items: &[Value]) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let key: Vec<String> = names.iter().filter_map(|name| item.get(name)).map(Value::to_string).collect();
        if key.len() == names.len() && !seen.insert(key.clone()) {
            report.error(&at.index(index), format!("a second item with {} {}; keep one", names.join(" and "), key.join(" and ")));
        }
    }
}
