//! From a field path back to a line of the text, and from a refusal of serde to a field path.

use super::tree::{Node, Value};
use istio_api::{Kind, Layout};
use serde_json::Value as Json;

/// The line of the field that `path` (`spec.http[0].match`) names, or of what encloses it most closely.
pub fn line_of(node: &Node, path: &str) -> usize {
    let (mut node, mut line) = (node, node.line);
    for segment in segments(path) {
        match &node.value {
            Value::Mapping(entries) => {
                let Some(entry) = entries.iter().find(|entry| same_field(&entry.key, segment)) else { break };
                (node, line) = (&entry.value, entry.line);
            }
            Value::Sequence(items) => {
                let Some(item) = segment.parse().ok().and_then(|index: usize| items.get(index)) else { break };
                (node, line) = (item, item.line);
            }
            _ => break,
        }
    }
    line
}

/// The parts of a path: words between dots, and what stands in brackets, which may contain dots.
fn segments(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (segment, after) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').unwrap_or((inner, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        if !segment.is_empty() {
            segments.push(segment);
        }
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    segments
}

/// Whether two spellings, with underscores or in camel case, name one field.
fn same_field(written: &str, wanted: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect::<String>();
    written == wanted || written.contains('_') && letters(written) == letters(wanted)
}

/// Which field of the object serde refuses, and why. Empty if the fault is not in the part that the kind's type holds.
pub fn refused_field(kind: Kind, body: &Json) -> Option<(String, String)> {
    let (prefix, part) = match kind.layout() {
        Layout::Spec => ("spec", body.get("spec")?),
        Layout::Body => ("", body),
    };
    let error = refusal(kind, part.clone())?;
    let path = error.path().to_string();
    let path = match (prefix, path.as_str()) {
        (_, ".") => prefix.to_owned(),
        ("", path) => path.to_owned(),
        (prefix, path) => format!("{prefix}.{path}"),
    };
    Some((path, error.into_inner().to_string()))
}

macro_rules! refusal {
    ($($kind:ident { spec: $spec:ty, $($rest:tt)* })+) => {
        fn refusal(kind: Kind, part: Json) -> Option<serde_path_to_error::Error<serde_json::Error>> {
            match kind { $( Kind::$kind => serde_path_to_error::deserialize::<_, $spec>(part).err(), )+ }
        }
    };
}

istio_api::for_each_kind!(refusal);
