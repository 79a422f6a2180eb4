//! The lines of a watch and the pages of a list.

use crate::decode::Head;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The mark on the bookmark behind the last object of a streaming list.
const LIST_ENDS: &str = "k8s.io/initial-events-end";

/// A line of a watch.
#[derive(Debug)]
pub enum Line {
    /// A new object, or one of the list.
    Added(Bytes),
    /// An object is another.
    Modified(Bytes),
    /// An object is gone.
    Deleted(Bytes),
    /// Nothing happened up to this version.
    Bookmark {
        /// The version.
        resource_version: String,
        /// Whether it ends a streaming list.
        list_ends: bool,
    },
    /// The server cannot go on.
    Error {
        /// As an HTTP status.
        code: u16,
        /// For people.
        message: String,
    },
}

#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Failure {
    code: u16,
    message: String,
}

/// Reads a line; an error if it is none, after which the stream cannot be trusted.
pub fn read_line(line: &Bytes) -> Result<Line, String> {
    let RawLine { kind, object } = serde_json::from_slice(line).map_err(|error| format!("a line that is no event: {error}"))?;
    let bytes = line.slice_ref(object.get().as_bytes());
    match kind {
        "ADDED" => Ok(Line::Added(bytes)),
        "MODIFIED" => Ok(Line::Modified(bytes)),
        "DELETED" => Ok(Line::Deleted(bytes)),
        "BOOKMARK" => {
            let Head { metadata } = serde_json::from_slice(&bytes).map_err(|error| format!("a bookmark that is none: {error}"))?;
            let list_ends = metadata.annotations.is_some_and(|notes| notes.get(LIST_ENDS).is_some_and(|value| value == "true"));
            Ok(Line::Bookmark { resource_version: metadata.resource_version, list_ends })
        }
        "ERROR" => {
            let Failure { code, message } = serde_json::from_slice(&bytes).unwrap_or_default();
            Ok(Line::Error { code, message })
        }
        other => Err(format!("an event of unknown type {other:?}")),
    }
}

/// The version at which an object was written; empty if it does not say.
pub fn version_of(object: &Bytes) -> String {
    serde_json::from_slice::<Head>(object).map(|head| head.metadata.resource_version).unwrap_or_default()
}

/// A page of a list.
pub struct Page {
    /// Its objects.
    pub items: Vec<Bytes>,
    /// The version of the list.
    pub resource_version: String,
    /// What asks for the next page; empty behind the last.
    pub token: String,
}

#[derive(Deserialize)]
struct RawPage<'a> {
    metadata: PageMetadata,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue", default)]
    token: String,
}

/// Reads a page; an error if it is none.
pub fn read_page(text: &Bytes) -> Result<Page, String> {
    let page: RawPage<'_> = serde_json::from_slice(text).map_err(|error| format!("a page that is no list: {error}"))?;
    let items = page.items.unwrap_or_default().into_iter().map(|item| text.slice_ref(item.get().as_bytes())).collect();
    Ok(Page { items, resource_version: page.metadata.resource_version, token: page.metadata.token })
}

/// Cuts a stream of chunks into lines.
#[derive(Default)]
pub struct Lines {
    rest: BytesMut,
}

impl Lines {
    /// Takes a chunk and returns the lines that it completes.
    pub fn push(&mut self, mut chunk: Bytes) -> Vec<Bytes> {
        let mut lines = Vec::new();
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let line = chunk.split_to(end + 1).slice(..end);
            if self.rest.is_empty() {
                lines.push(line);
            } else {
                self.rest.extend_from_slice(&line);
                lines.push(std::mem::take(&mut self.rest).freeze());
            }
        }
        self.rest.extend_from_slice(&chunk);
        lines.retain(|line| !line.is_empty());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_across_chunks() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(Bytes::from_static(b"on")), Vec::<Bytes>::new());
        assert_eq!(lines.push(Bytes::from_static(b"e\ntwo\nthr")), ["one", "two"]);
        assert_eq!(lines.push(Bytes::from_static(b"ee\n\n")), ["three"]);
    }

    #[test]
    fn lines_of_a_watch() {
        let read = |text: &'static str| read_line(&Bytes::from_static(text.as_bytes()));
        let object = r#"{"metadata":{"name":"a","resourceVersion":"7"},"spec":{}}"#;
        let Ok(Line::Added(bytes)) = read(r#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"7"},"spec":{}}}"#) else {
            panic!("no object");
        };
        assert_eq!((&*bytes, version_of(&bytes).as_str()), (object.as_bytes(), "7"));
        let end = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        assert!(matches!(read(end), Ok(Line::Bookmark { resource_version, list_ends: true }) if resource_version == "9"));
        let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#;
        assert!(matches!(read(gone), Ok(Line::Error { code: 410, .. })));
        assert!(read(r#"{"type":"ADDED"}"#).is_err());
    }

    #[test]
    fn a_page_of_nothing() {
        let page = read_page(&Bytes::from_static(br#"{"metadata":{"resourceVersion":"3"},"items":null}"#)).unwrap();
        assert_eq!((page.items.len(), page.resource_version.as_str(), page.token.as_str()), (0, "3", ""));
    }
}
