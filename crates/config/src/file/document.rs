//! The documents of a file, decoded and checked; those whose bytes did not change are taken over.

use crate::decode::{self, Decoded, ObjectKey};
use base::{Diagnostic, Level};
use istio_api::AnyObject;
use std::{collections::BTreeMap, sync::Arc};
use xxhash_rust::xxh3::xxh3_128;

/// An object that a document names.
pub struct Named {
    /// Which object.
    pub key: ObjectKey,
    /// Its first line in the document, counted from 1.
    pub line: usize,
    /// The object, unless it has an error.
    pub object: Option<AnyObject>,
}

/// What a document says, whatever its place in the file.
struct Outcome {
    objects: Vec<Named>,
    /// With lines in the document, counted from 1.
    diagnostics: Vec<(usize, Diagnostic)>,
    broken: bool,
}

/// A document at its place in a file.
pub struct Document {
    hash: u128,
    lines_before: usize,
    outcome: Arc<Outcome>,
}

impl Document {
    /// The objects that it names, in order.
    pub fn objects(&self) -> impl Iterator<Item = &Named> {
        self.outcome.objects.iter()
    }

    /// Its diagnostics with their lines in the file.
    pub fn diagnostics(&self) -> impl Iterator<Item = (usize, &Diagnostic)> {
        self.outcome.diagnostics.iter().map(|(line, diagnostic)| (self.line(*line), diagnostic))
    }

    /// Whether it cannot be parsed, so that the objects which it names are not known.
    pub fn is_broken(&self) -> bool {
        self.outcome.broken
    }

    /// The line in the file of a line in the document.
    pub fn line(&self, line: usize) -> usize {
        self.lines_before + line
    }
}

/// Reads the documents of `text`, of which `old` are the documents before the change.
pub fn read(text: &str, old: &[Document]) -> Vec<Document> {
    let known: BTreeMap<u128, &Document> = old.iter().map(|document| (document.hash, document)).collect();
    decode::split(text)
        .into_iter()
        .map(|part| {
            let hash = xxh3_128(part.text.as_bytes());
            let outcome = match known.get(&hash) {
                Some(document) => document.outcome.clone(),
                None => Arc::new(Outcome::of(decode::decode(part.text))),
            };
            Document { hash, lines_before: part.lines_before, outcome }
        })
        .collect()
}

impl Outcome {
    /// Adds the findings of validation to those of decoding.
    fn of(decoded: Decoded) -> Self {
        let mut diagnostics = decoded.diagnostics;
        let objects = decoded.objects.into_iter().map(|item| {
            let mut valid = true;
            for finding in item.object.iter().flat_map(|object| validation::validate_document(object, &item.body)) {
                valid &= finding.level != Level::Error;
                diagnostics.push((item.line_of(&finding.field), finding));
            }
            Named { key: item.key, line: item.line, object: item.object.filter(|_| valid) }
        });
        let objects = objects.collect();
        Self { objects, diagnostics, broken: decoded.broken }
    }
}
