//! A parsed document whose every value knows its line.

use serde_json::Number;

/// A value and where it begins.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// The line in its document, counted from 1.
    pub line: usize,
    /// What stands there.
    pub value: Value,
}

/// A value of the YAML 1.2 core schema, as far as JSON can hold it.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Empty, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer or a decimal fraction.
    Number(Number),
    /// Everything else that is a scalar, and all quoted ones.
    String(String),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping in the order of the text; a key may stand in it twice (see [`duplicate_keys`]).
    Mapping(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// The key as it is written.
    pub key: String,
    /// The line of the key.
    pub line: usize,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The value of the last entry `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().rev().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// How many values stand in it, itself included, and how deep they nest.
    pub fn extent(&self) -> (usize, usize) {
        let (mut size, mut depth) = (1, 0);
        let mut visit = |child: &Node| {
            let (child_size, child_depth) = child.extent();
            size += child_size;
            depth = depth.max(child_depth);
        };
        match &self.value {
            Value::Sequence(items) => items.iter().for_each(&mut visit),
            Value::Mapping(entries) => entries.iter().for_each(|entry| visit(&entry.value)),
            _ => {}
        }
        (size, depth + 1)
    }

    /// What a message calls it: "the number 8080".
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "empty".into(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Number(number) => format!("the number {number}"),
            Value::String(text) => format!("the text {text:?}"),
            Value::Sequence(_) => "a list".into(),
            Value::Mapping(_) => "a mapping".into(),
        }
    }

    /// The same value as JSON, by which nothing is interpreted.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => number.clone().into(),
            Value::String(text) => text.clone().into(),
            Value::Sequence(items) => items.iter().map(Node::to_json).collect(),
            Value::Mapping(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
        }
    }

    /// JSON as a tree whose every value stands at `line`: for JSON that is no YAML.
    pub fn from_json(value: serde_json::Value, line: usize) -> Self {
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => Value::Number(number),
            serde_json::Value::String(text) => Value::String(text),
            serde_json::Value::Array(items) => Value::Sequence(items.into_iter().map(|item| Self::from_json(item, line)).collect()),
            serde_json::Value::Object(fields) => {
                Value::Mapping(fields.into_iter().map(|(key, value)| Entry { key, line, value: Self::from_json(value, line) }).collect())
            }
        };
        Self { line, value }
    }
}

/// Calls `found` with path and line of every key that stands in its mapping a second time.
pub fn duplicate_keys(node: &Node, path: &Path<'_>, found: &mut impl FnMut(String, usize)) {
    match &node.value {
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                duplicate_keys(item, &path.index(index), found);
            }
        }
        Value::Mapping(entries) => {
            let mut seen = std::collections::BTreeSet::new();
            for entry in entries {
                let path = path.key(&entry.key);
                if !seen.insert(&entry.key) {
                    found(path.to_string(), entry.line);
                }
                duplicate_keys(&entry.value, &path, found);
            }
        }
        _ => {}
    }
}

/// The path to a value while a tree is walked; it is only written out for a finding.
#[derive(Clone, Copy)]
pub enum Path<'a> {
    /// The document.
    Root,
    /// A field or key of a mapping.
    Key(&'a Path<'a>, &'a str),
    /// An item of a sequence.
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The path of an entry.
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }

    /// The path of an item.
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }
}

impl std::fmt::Display for Path<'_> {
    /// `spec.http[0].route`; a key that is no plain word stands in brackets, `metadata.labels[app.kubernetes.io/name]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) if key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') => {
                write!(f, "{parent}.{key}")
            }
            Path::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}
