//! The text of one document → a tree with lines.
//!
//! Anchors, aliases and merge keys (`<<`) are resolved here, within bounds: a text of a few lines must not become
//! gigabytes ("billion laughs"), nor nest so deep that walking it ends the process.

use super::{
    scalar,
    tree::{Entry, Node, Value},
};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use std::{borrow::Cow, collections::BTreeMap};

/// How deep values may nest; Istio's deepest, EnvoyFilter patches, stay under 30.
const MAX_DEPTH: usize = 100;
/// How many values the aliases of one document may add.
const MAX_ALIASED: usize = 100_000;

/// Why a document is no tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /// The line in the document, counted from 1.
    pub line: usize,
    /// What is wrong, and what to do where that is known.
    pub message: String,
}

impl SyntaxError {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Parses one document; `None` if it holds nothing.
pub fn parse(text: &str) -> Result<Option<Node>, SyntaxError> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| explain(&error))?;
        builder.take(event, span)?;
    }
    Ok(builder.root)
}

/// Adds the way out of the mistakes that are common in Istio objects.
fn explain(error: &ScanError) -> SyntaxError {
    let info = error.info();
    let hint = if info.contains("anchor") || info.contains("alias") {
        "; a text that begins with * or & must be quoted: \"*\""
    } else if info.contains("tab") {
        "; indent with spaces"
    } else {
        ""
    };
    SyntaxError::new(error.marker().line(), format!("this is not YAML: {info}{hint}"))
}

/// What an anchor names, with its size and depth, so that the bounds are checked before it is copied.
struct Anchored {
    node: Node,
    size: usize,
    depth: usize,
}

/// A collection that is not yet closed.
enum Frame {
    Sequence { line: usize, anchor: usize, items: Vec<Node> },
    Mapping { line: usize, anchor: usize, entries: Vec<Entry>, merged: Vec<Node>, key: Option<Key> },
}

/// A key that waits for its value.
struct Key {
    text: String,
    line: usize,
    merge: bool,
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Frame>,
    anchors: BTreeMap<usize, Anchored>,
    aliased: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref(), line),
            Event::Alias(id) => self.alias(id, line),
            Event::SequenceStart(anchor, _) => self.open(Frame::Sequence { line, anchor, items: Vec::new() }, line),
            Event::MappingStart(anchor, _) => {
                self.open(Frame::Mapping { line, anchor, entries: Vec::new(), merged: Vec::new(), key: None }, line)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, anchor: usize, tag: Option<&Tag>, line: usize) -> Result<(), SyntaxError> {
        if let Some(Frame::Mapping { key: key @ None, .. }) = self.open.last_mut() {
            let merge = text == "<<" && style == ScalarStyle::Plain;
            *key = Some(Key { text: text.into_owned(), line, merge });
            return Ok(());
        }
        let core = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str());
        let value = match (core, style) {
            (Some("str"), _) => Value::String(text.into_owned()),
            (Some("int" | "float" | "bool" | "null"), _) | (_, ScalarStyle::Plain) => scalar::plain(&text),
            _ => Value::String(text.into_owned()),
        };
        self.place(Node { line, value }, anchor)
    }

    fn alias(&mut self, id: usize, line: usize) -> Result<(), SyntaxError> {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(SyntaxError::new(line, "an alias stands inside the value that it names; write the value out"));
        };
        self.aliased += anchored.size;
        if self.aliased > MAX_ALIASED {
            return Err(SyntaxError::new(line, format!("aliases expand to more than {MAX_ALIASED} values; write fewer of them")));
        }
        if self.open.len() + anchored.depth > MAX_DEPTH {
            return Err(too_deep(line));
        }
        let node = anchored.node.clone();
        if let (Some(Frame::Mapping { key: key @ None, .. }), Value::String(text)) = (self.open.last_mut(), &node.value) {
            *key = Some(Key { text: text.clone(), line, merge: false });
            return Ok(());
        }
        self.place(node, 0)
    }

    fn open(&mut self, frame: Frame, line: usize) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(line));
        }
        if let Some(Frame::Mapping { key: None, .. }) = self.open.last() {
            return Err(SyntaxError::new(
                line,
                "a key must be a word, not a list or mapping (templates such as {{ .x }} must be rendered first)",
            ));
        }
        self.open.push(frame);
        Ok(())
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        match self.open.pop() {
            Some(Frame::Sequence { line, anchor, items }) => self.place(Node { line, value: Value::Sequence(items) }, anchor),
            Some(Frame::Mapping { line, anchor, mut entries, merged, .. }) => {
                for source in merged {
                    merge(&mut entries, source)?;
                }
                self.place(Node { line, value: Value::Mapping(entries) }, anchor)
            }
            None => Ok(()),
        }
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        if anchor != 0 {
            let (size, depth) = node.extent();
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, depth });
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Frame::Sequence { items, .. }) => items.push(node),
            Some(Frame::Mapping { entries, merged, key, .. }) => match key.take() {
                Some(key) if key.merge => merged.push(node),
                Some(key) => entries.push(Entry { key: key.text, line: key.line, value: node }),
                None => return Err(SyntaxError::new(node.line, "a key must be a word, not a list or mapping")),
            },
        }
        Ok(())
    }
}

fn too_deep(line: usize) -> SyntaxError {
    SyntaxError::new(line, format!("values nest deeper than {MAX_DEPTH} levels"))
}

/// Adds what a merge key names, under what stands in the mapping itself (yaml.org/type/merge.html).
fn merge(entries: &mut Vec<Entry>, source: Node) -> Result<(), SyntaxError> {
    let line = source.line;
    match source.value {
        Value::Mapping(added) => {
            for entry in added {
                if !entries.iter().any(|known| known.key == entry.key) {
                    entries.push(entry);
                }
            }
            Ok(())
        }
        Value::Sequence(sources) if sources.iter().all(|source| matches!(source.value, Value::Mapping(_))) => {
            sources.into_iter().try_for_each(|source| merge(entries, source))
        }
        _ => Err(SyntaxError::new(line, "the merge key << needs a mapping or a list of mappings")),
    }
}
