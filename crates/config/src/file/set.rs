//! The pure core of the file source: contents of files in, events out.
//!
//! Which documents name which object is remembered as **claims**; the first claim of an object by path and position is
//! the object, and the claims behind it are duplicates. A change of a file changes its claims, and the objects whose
//! first claim changed become events. No file is read and no clock is asked here.

use super::document::{Document, read};
use crate::{Change, Event, decode::ObjectKey};
use base::{ClusterId, Diagnostic, Location};
use istio_api::AnyObject;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

/// What is known of a file now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contents {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// It exists but cannot be read; the text says why.
    Unreadable(String),
    /// It is gone or empty for the moment, perhaps because an editor is replacing it: its objects stay, but give way to
    /// the same ones of another file.
    Vanished,
    /// It is gone.
    Removed,
}

/// Where an object is claimed, in the order in which claims win.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    vanished: bool,
    file: Arc<str>,
    position: usize,
}

/// One document's word for an object.
#[derive(Clone, PartialEq, Debug)]
struct Claim {
    line: usize,
    object: AnyObject,
}

/// A file as it was read last.
#[derive(Default)]
struct File {
    documents: Vec<Document>,
    /// What is wrong with the file itself: it cannot be read, or is no text.
    unreadable: Option<String>,
    vanished: bool,
    claims: BTreeMap<(ObjectKey, usize), Claim>,
    /// The diagnostics that were sent last.
    said: Vec<Diagnostic>,
}

/// All files of one folder.
pub struct FileSet {
    cluster: ClusterId,
    files: BTreeMap<Arc<str>, File>,
    claims: BTreeMap<ObjectKey, BTreeMap<Place, Claim>>,
    /// The objects as they were sent last.
    current: BTreeMap<ObjectKey, AnyObject>,
}

impl FileSet {
    /// No files yet. The events will say that they come from `cluster`.
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, files: BTreeMap::new(), claims: BTreeMap::new(), current: BTreeMap::new() }
    }

    /// The known files at or below `path` (empty for all), by the path that diagnostics show.
    pub fn files_below(&self, path: &str) -> Vec<Arc<str>> {
        let inside = if path.is_empty() { String::new() } else { format!("{path}/") };
        let exact = self.files.get_key_value(path).map(|(name, _)| name.clone());
        let from = (Bound::Included(inside.as_str()), Bound::Unbounded);
        let below = self.files.range::<str, _>(from).map(|(name, _)| name).take_while(|name| name.starts_with(&inside));
        exact.into_iter().chain(below.cloned()).collect()
    }

    /// Whether `file` holds objects now.
    pub fn has_objects(&self, file: &str) -> bool {
        self.files.get(file).is_some_and(|file| !file.claims.is_empty())
    }

    /// Whether the last that was said of `file` is that it vanished.
    pub fn has_vanished(&self, file: &str) -> bool {
        self.files.get(file).is_some_and(|file| file.vanished)
    }

    /// Takes what changed and says what that means: objects set and deleted, in the order of their keys, then the
    /// findings of every file of which they changed.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = (Arc<str>, Contents)>) -> Vec<Event> {
        let mut files = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for (file, contents) in changes {
            self.replace(&file, contents, &mut keys);
            files.insert(file);
        }
        let mut changes = Vec::new();
        for key in keys {
            // Another file's duplicate may have become the object, or the other way round.
            files.extend(self.claims.get(&key).into_iter().flatten().map(|(place, _)| place.file.clone()));
            changes.extend(self.settle(key));
        }
        for file in files {
            changes.extend(self.findings(&file));
        }
        changes.into_iter().map(|change| Event { cluster: self.cluster.clone(), change }).collect()
    }

    /// Puts the new state of a file in place of the old one and adds the keys of all claims that changed.
    fn replace(&mut self, name: &Arc<str>, contents: Contents, keys: &mut BTreeSet<ObjectKey>) {
        let mut old = self.files.remove(name).unwrap_or_default();
        let new = match contents {
            Contents::Removed => None,
            Contents::Vanished if old.claims.is_empty() => None,
            Contents::Vanished => {
                let (documents, unreadable) = (std::mem::take(&mut old.documents), old.unreadable.take());
                Some(File { documents, unreadable, vanished: true, claims: old.claims.clone(), said: Vec::new() })
            }
            Contents::Unreadable(message) => Some(File::read(&old, Err(message))),
            Contents::Bytes(bytes) => {
                let text = String::from_utf8(bytes)
                    .map_err(|error| format!("is not UTF-8 at byte {}; save it as UTF-8", error.utf8_error().valid_up_to()));
                Some(File::read(&old, text))
            }
        };
        self.withdraw(name, &old, new.as_ref(), keys);
        if let Some(mut new) = new {
            self.claim(name, &old, &new, keys);
            new.said = old.said;
            self.files.insert(name.clone(), new);
        } else if !old.said.is_empty() {
            // Kept until its findings are taken back.
            self.files.insert(name.clone(), File { said: old.said, ..File::default() });
        }
    }

    fn withdraw(&mut self, name: &Arc<str>, old: &File, new: Option<&File>, keys: &mut BTreeSet<ObjectKey>) {
        for (at @ (key, position), claim) in &old.claims {
            if new.is_some_and(|new| new.vanished == old.vanished && new.claims.get(at) == Some(claim)) {
                continue;
            }
            keys.insert(key.clone());
            let place = Place { vanished: old.vanished, file: name.clone(), position: *position };
            if let Some(claims) = self.claims.get_mut(key) {
                claims.remove(&place);
                if claims.is_empty() {
                    self.claims.remove(key);
                }
            }
        }
    }

    fn claim(&mut self, name: &Arc<str>, old: &File, new: &File, keys: &mut BTreeSet<ObjectKey>) {
        for (at @ (key, position), claim) in &new.claims {
            if new.vanished == old.vanished && old.claims.get(at) == Some(claim) {
                continue;
            }
            keys.insert(key.clone());
            let place = Place { vanished: new.vanished, file: name.clone(), position: *position };
            self.claims.entry(key.clone()).or_default().insert(place, claim.clone());
        }
    }

    /// Compares the first claim of `key` with what was sent last.
    fn settle(&mut self, key: ObjectKey) -> Option<Change> {
        let first = self.claims.get(&key).and_then(|claims| claims.first_key_value()).map(|(_, claim)| claim.object.clone());
        match first {
            Some(object) if self.current.get(&key) == Some(&object) => None,
            Some(object) => {
                self.current.insert(key, object.clone());
                Some(Change::Set(object))
            }
            None => {
                self.current.remove(&key)?;
                Some(Change::Delete { kind: key.kind, namespace: key.namespace, name: key.name })
            }
        }
    }

    /// What is wrong with `name` now, if that differs from what was said last.
    fn findings(&mut self, name: &Arc<str>) -> Option<Change> {
        let file = self.files.get(name)?;
        let diagnostics = self.diagnostics(name, file);
        let gone = file.documents.is_empty() && file.unreadable.is_none() && diagnostics.is_empty();
        let changed = diagnostics != file.said;
        if gone && file.claims.is_empty() {
            self.files.remove(name);
        } else if let Some(file) = self.files.get_mut(name) {
            file.said.clone_from(&diagnostics);
        }
        changed.then(|| Change::Findings { source: name.clone(), diagnostics })
    }

    fn diagnostics(&self, name: &Arc<str>, file: &File) -> Vec<Diagnostic> {
        let mut all = Vec::new();
        if let Some(message) = &file.unreadable {
            all.push(Diagnostic::error("UnreadableFile", None, "", format!("the file {message}")).at(name, 1));
        }
        for document in &file.documents {
            all.extend(document.diagnostics().map(|(line, diagnostic)| diagnostic.clone().at(name, line)));
        }
        if !file.vanished {
            all.extend(file.claims.iter().filter_map(|((key, position), claim)| self.duplicate(name, key, *position, claim)));
        }
        all.sort_by_key(line);
        all
    }

    /// The diagnostic of a claim that is not the first one.
    fn duplicate(&self, name: &Arc<str>, key: &ObjectKey, position: usize, claim: &Claim) -> Option<Diagnostic> {
        let (first, used) = self.claims.get(key)?.first_key_value()?;
        if (&first.file, first.position) == (name, position) {
            return None;
        }
        let message = format!("is defined a second time; the one at {}:{} is used: remove or rename one of the two", first.file, used.line);
        Some(Diagnostic::error("DuplicateObject", Some(key.object_ref()), "", message).at(name, claim.line))
    }
}

/// Everything that is wrong with one text of YAML or JSON, whose diagnostics name it `source`.
pub fn check(source: &str, text: &[u8]) -> Vec<Diagnostic> {
    let events = FileSet::new(ClusterId::default()).apply([(Arc::from(source), Contents::Bytes(text.to_vec()))]);
    let findings = events.into_iter().filter_map(|event| match event.change {
        Change::Findings { diagnostics, .. } => Some(diagnostics),
        _ => None,
    });
    findings.flatten().collect()
}

fn line(diagnostic: &Diagnostic) -> usize {
    diagnostic.location.as_ref().map_or(0, |Location { line, .. }| *line)
}

impl File {
    /// Reads the new contents, or takes over everything if there are none.
    fn read(old: &File, text: Result<String, String>) -> Self {
        let (documents, unreadable) = match text {
            Ok(text) => (read(&text, &old.documents), None),
            Err(message) => (Vec::new(), Some(message)),
        };
        let former = |key: &ObjectKey| {
            let first = old.claims.range((key.clone(), 0)..).next();
            first.filter(|((found, _), _)| found == key).map(|(_, claim)| claim.object.clone())
        };
        let mut claims = BTreeMap::new();
        let mut named = BTreeSet::new();
        let mut position = 0;
        for (document, item) in documents.iter().flat_map(|document| document.objects().map(move |item| (document, item))) {
            named.insert(item.key.clone());
            // A bad version leaves the former good one in force.
            if let Some(object) = item.object.clone().or_else(|| former(&item.key)) {
                claims.insert((item.key.clone(), position), Claim { line: document.line(item.line), object });
            }
            position += 1;
        }
        if unreadable.is_some() || documents.iter().any(Document::is_broken) {
            // Who knows which objects the broken document names: all that no other document names stay.
            for ((key, _), claim) in &old.claims {
                if named.insert(key.clone()) {
                    claims.insert((key.clone(), position), claim.clone());
                    position += 1;
                }
            }
        }
        Self { documents, unreadable, vanished: false, claims, said: Vec::new() }
    }
}
