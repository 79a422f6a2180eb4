//! The rules that stand in the CRDs, on objects that no API server has seen: required fields, bounds, patterns and CEL.
//!
//! Read first: `compile.rs`, where the schema of a kind becomes a tree that holds only the fields with rules; then
//! `walk.rs`, which follows an object's JSON along that tree. Types, enums, bounds of integers and oneofs are checked
//! before, when a document is decoded.

mod compile;
mod expression;
mod walk;

use crate::report::{Field, Report};
use base::{Diagnostic, Level, ObjectRef};
use compile::Node;
use istio_api::Kind;
use serde_json::Value;
use std::{collections::BTreeMap, sync::LazyLock};

/// What of each kind has rules.
static RULES: LazyLock<BTreeMap<Kind, Node>> = LazyLock::new(|| {
    let kinds = Kind::ALL.iter().filter_map(|kind| Some((*kind, compile::node(kind.schema()?)?)));
    kinds.collect()
});

/// What the API server would refuse in `body`, the object as decoded, and `known` does not tell already: a rule at, above
/// or below the field of a known error says the same in other words.
pub(crate) fn check(object: &ObjectRef, kind: Kind, body: &Value, known: &[Diagnostic]) -> Vec<Diagnostic> {
    let mut report = Report::new(object.clone());
    let at = Field::Root("spec");
    match (body.get("spec"), RULES.get(&kind)) {
        (Some(spec), Some(rules)) => walk::walk(&mut report, &at, spec, rules),
        (None, _) if istio_api::crd::needs_spec(kind) => report.error(&at, "spec is missing; every object of this kind needs one"),
        _ => {}
    }
    let errors: Vec<&str> = known.iter().filter(|known| known.level == Level::Error).map(|known| known.field.as_str()).collect();
    report.diagnostics.retain(|found| !errors.iter().any(|error| is_near(error, &found.field)));
    report.diagnostics
}

/// Whether one path leads to the other.
fn is_near(one: &str, other: &str) -> bool {
    let leads = |short: &str, long: &str| long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    leads(one, other) || leads(other, one)
}
