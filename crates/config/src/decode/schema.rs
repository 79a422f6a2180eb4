//! A tree against the schema of its kind: every unknown field and every wrong type is found in one pass, and what is
//! right becomes the JSON that serde decodes.

use super::{
    suggest::nearest,
    tree::{Entry, Node, Path, Value},
};
use base::Level;
use istio_api::Duration;
use serde_json::{Map, Value as Json};

/// One thing that is wrong in a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// An error, or a warning where what is wrong has no weight.
    pub level: Level,
    /// Whether the object cannot be used; otherwise only the field is left out.
    pub fatal: bool,
    /// The path of the field.
    pub field: String,
    /// The line in the document, counted from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Finding {
    /// An error at `line` of the document, because of which the object cannot be used.
    pub fn error(field: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { level: Level::Error, fatal: true, field: field.into(), line, message: message.into() }
    }

    /// An error at `line` of the document, because of which the field is left out.
    pub fn left_out(field: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { fatal: false, ..Self::error(field, line, message) }
    }
}

/// What to do with a field that the schema does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnknownFields {
    /// An error for which the object is refused, as the API server does with `fieldValidation: Strict`.
    Refuse,
    /// An error, but the object is used without the field, as the API server does otherwise; so an object that was
    /// written for a newer version still works.
    LeaveOut,
    /// A warning.
    Warn,
    /// Left out silently, for messages of which we know only the fields that we read.
    Skip,
}

/// Walks a tree along a schema in the structural form of CRDs.
pub struct Walk<'a> {
    /// What happens to unknown fields.
    pub unknown: UnknownFields,
    /// What was found so far.
    pub findings: &'a mut Vec<Finding>,
}

impl Walk<'_> {
    /// The JSON of `node` in the spelling of `schema` (camelCase, no nulls), without what is wrong.
    pub fn value(&mut self, node: &Node, schema: &Json, path: &Path<'_>) -> Option<Json> {
        if flag(schema, "x-kubernetes-preserve-unknown-fields") && schema.get("properties").is_none() {
            return self.free_form(node, schema, path);
        }
        match schema.get("type").and_then(Json::as_str) {
            Some("object") => self.object(node, schema, path),
            Some("array") => self.array(node, schema, path),
            Some("string") => self.string(node, schema, path),
            Some("boolean") => self.boolean(node, path),
            Some("integer") => self.integer(node, schema, path),
            Some("number") => match &node.value {
                Value::Number(number) => Some(number.clone().into()),
                _ => self.wrong(node, path, "a number"),
            },
            _ => Some(node.to_json()),
        }
    }

    fn find(&mut self, line: usize, path: &Path<'_>, message: impl Into<String>) {
        self.findings.push(Finding::error(path.to_string(), line, message));
    }

    /// Reports a wrong type with the way to the right one.
    fn wrong(&mut self, node: &Node, path: &Path<'_>, wanted: &str) -> Option<Json> {
        let way_out = match (&node.value, wanted) {
            (Value::Number(_) | Value::Bool(_), "a string") => "; put it in quotes",
            (Value::String(text), "a number" | "an integer") if text.parse::<f64>().is_ok() => "; remove the quotes",
            (Value::String(text), "a boolean") if matches!(text.as_str(), "true" | "false") => "; remove the quotes",
            (_, "a boolean") => "; write true or false",
            (_, "a list") => "; begin each item with \"- \"",
            (_, "a mapping") => "; write its fields as \"name: value\" below it",
            _ => "",
        };
        self.find(node.line, path, format!("must be {wanted} but is {}{way_out}", node.describe()));
        None
    }

    fn free_form(&mut self, node: &Node, schema: &Json, path: &Path<'_>) -> Option<Json> {
        if schema.get("type").and_then(Json::as_str) == Some("object") && !matches!(node.value, Value::Mapping(_)) {
            return self.wrong(node, path, "a mapping");
        }
        Some(node.to_json())
    }

    fn object(&mut self, node: &Node, schema: &Json, path: &Path<'_>) -> Option<Json> {
        let Value::Mapping(entries) = &node.value else { return self.wrong(node, path, "a mapping") };
        if let Some(values) = schema.get("additionalProperties") {
            if entries.is_empty() && schema.get("minProperties").is_some() {
                self.find(node.line, path, "must have at least one entry; leave it out if there is none");
            }
            return Some(Json::Object(self.map(entries, values, path)));
        }
        let none = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&none);
        let mut fields = Map::new();
        for entry in entries {
            let path = path.key(&entry.key);
            let Some((name, schema)) = property(properties, &entry.key) else {
                self.unknown_field(entry, properties, &path);
                continue;
            };
            if entry.value.value != Value::Null
                && let Some(value) = self.value(&entry.value, schema, &path)
                && fields.insert(name.clone(), value).is_some()
                // The same spelling is found as a duplicate key.
                && entries.iter().filter(|other| other.key == entry.key).count() == 1
            {
                self.find(entry.line, &path, format!("{name:?} is written twice, in two spellings; keep one"));
            }
        }
        self.oneofs(node, schema, &fields, path);
        Some(Json::Object(fields))
    }

    fn map(&mut self, entries: &[Entry], values: &Json, path: &Path<'_>) -> Map<String, Json> {
        let mut fields = Map::new();
        for entry in entries {
            let path = path.key(&entry.key);
            if entry.value.value == Value::Null && values.get("type").and_then(Json::as_str) == Some("string") {
                self.find(entry.line, &path, "has no value; write \"\" for an empty one");
            } else if let Some(value) = self.value(&entry.value, values, &path) {
                fields.insert(entry.key.clone(), value);
            }
        }
        fields
    }

    fn unknown_field(&mut self, entry: &Entry, properties: &Map<String, Json>, path: &Path<'_>) {
        let (level, fatal) = match self.unknown {
            UnknownFields::Refuse => (Level::Error, true),
            UnknownFields::LeaveOut => (Level::Error, false),
            UnknownFields::Warn => (Level::Warning, false),
            UnknownFields::Skip => return,
        };
        let message = match nearest(&entry.key, properties.keys().map(String::as_str)) {
            Some(name) => format!("unknown field {:?}; did you mean {name:?}?", entry.key),
            None if properties.is_empty() => format!("unknown field {:?}; no field can stand here", entry.key),
            None => {
                let names: Vec<&str> = properties.keys().map(String::as_str).collect();
                format!("unknown field {:?}; known here: {}", entry.key, names.join(", "))
            }
        };
        self.findings.push(Finding { level, fatal, ..Finding::error(path.to_string(), entry.line, message) });
    }

    /// At most one field of each group of `x-oneof` may be set.
    fn oneofs(&mut self, node: &Node, schema: &Json, fields: &Map<String, Json>, path: &Path<'_>) {
        for group in schema.get("x-oneof").and_then(Json::as_array).into_iter().flatten() {
            let members = || group.as_array().into_iter().flatten().filter_map(Json::as_str);
            let set: Vec<&str> = members().filter(|name| fields.contains_key(*name)).collect();
            if set.len() > 1 {
                self.find(node.line, path, format!("only one of {} can be set; keep one", set.join(", ")));
            }
        }
    }

    fn array(&mut self, node: &Node, schema: &Json, path: &Path<'_>) -> Option<Json> {
        let Value::Sequence(items) = &node.value else { return self.wrong(node, path, "a list") };
        let any = Json::Bool(true);
        let schema = schema.get("items").unwrap_or(&any);
        let values = items.iter().enumerate().filter_map(|(index, item)| {
            let path = path.index(index);
            if item.value == Value::Null && schema.get("type").is_some() {
                self.find(item.line, &path, "is an empty item; remove it or write its value");
                return None;
            }
            self.value(item, schema, &path)
        });
        Some(values.collect())
    }

    fn string(&mut self, node: &Node, schema: &Json, path: &Path<'_>) -> Option<Json> {
        let Value::String(text) = &node.value else { return self.wrong(node, path, "a string") };
        if let Some(allowed) = schema.get("enum").and_then(Json::as_array) {
            let allowed: Vec<&str> = allowed.iter().filter_map(Json::as_str).collect();
            if !allowed.contains(&text.as_str()) {
                self.find(node.line, path, format!("{text:?} is not one of {}", allowed.join(", ")));
                return None;
            }
        }
        if flag(schema, "x-duration")
            && let Err(error) = text.parse::<Duration>()
        {
            self.find(node.line, path, format!("invalid duration: {error}"));
            return None;
        }
        Some(text.clone().into())
    }

    fn boolean(&mut self, node: &Node, path: &Path<'_>) -> Option<Json> {
        match node.value {
            Value::Bool(value) => Some(value.into()),
            _ => self.wrong(node, path, "a boolean"),
        }
    }

    fn integer(&mut self, node: &Node, schema: &Json, path: &Path<'_>) -> Option<Json> {
        let Some(integer) = integer_of(&node.value, schema) else { return self.wrong(node, path, "an integer") };
        let bound = |name: &str| schema.get(name).and_then(Json::as_number).and_then(as_integer);
        let (minimum, maximum) = (bound("minimum").unwrap_or(i128::MIN), bound("maximum").unwrap_or(i128::MAX));
        if integer < minimum {
            self.find(node.line, path, format!("{integer} is too small; the least value is {minimum}"));
            return None;
        }
        if integer > maximum {
            self.find(node.line, path, format!("{integer} is too large; the greatest value is {maximum}"));
            return None;
        }
        i64::try_from(integer).map(Json::from).or_else(|_| u64::try_from(integer).map(Json::from)).ok()
    }
}

/// The integer that stands here. Proto JSON writes those of 64 bits, whose schema has no maximum, as texts.
fn integer_of(value: &Value, schema: &Json) -> Option<i128> {
    match value {
        Value::Number(number) => as_integer(number),
        Value::String(text) if schema.get("minimum").is_some() && schema.get("maximum").is_none() => {
            text.parse::<u64>().ok().map(i128::from)
        }
        _ => None,
    }
}

/// The number as an integer, also if it is written `10.0`.
fn as_integer(number: &serde_json::Number) -> Option<i128> {
    if let Some(value) = number.as_i64() {
        return Some(value.into());
    }
    if let Some(value) = number.as_u64() {
        return Some(value.into());
    }
    number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < 9e15).map(|value| value as i128)
}

fn flag(schema: &Json, name: &str) -> bool {
    schema.get(name).and_then(Json::as_bool).unwrap_or(false)
}

/// The property that `key` names: as it is, or in proto's spelling with underscores, which proto JSON accepts too.
fn property<'s>(properties: &'s Map<String, Json>, key: &str) -> Option<(&'s String, &'s Json)> {
    properties.get_key_value(key).or_else(|| {
        if !key.contains('_') {
            return None;
        }
        let mut upper = false;
        let camel: String = key
            .chars()
            .filter_map(|letter| match (letter, std::mem::replace(&mut upper, letter == '_')) {
                ('_', _) => None,
                (letter, true) => Some(letter.to_ascii_uppercase()),
                (letter, false) => Some(letter),
            })
            .collect();
        properties.get_key_value(&camel)
    })
}
