//! A folder on disk and what is known of it.

use super::{
    Error,
    scan::{files_below, is_configuration, is_hidden},
    set::{Contents, FileSet},
    settle::{Report, Settling},
};
use crate::Event;
use base::ClusterId;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};
use tokio::time::Instant;

/// One folder and its state.
pub struct Folder {
    root: PathBuf,
    set: FileSet,
    settling: Settling,
}

impl Folder {
    /// A folder of which nothing is known yet.
    pub fn new(root: PathBuf, cluster: ClusterId) -> Self {
        Self { root, set: FileSet::new(cluster), settling: Settling::default() }
    }

    /// Reads everything.
    pub fn load(&mut self) -> Result<Vec<Event>, Error> {
        let files = files_below(&self.root).map_err(|source| Error::Folder { path: self.root.clone(), source })?;
        let mut changes = BTreeMap::new();
        for path in files {
            self.look_at_file(&path, Instant::now(), &mut changes);
        }
        Ok(self.set.apply(changes))
    }

    /// Notes what the operating system reports of a path.
    pub fn report(&mut self, path: PathBuf, report: Report, now: Instant) {
        let Ok(inside) = path.strip_prefix(&self.root) else { return };
        // A ConfigMap is updated by renaming `..data`; the files that are links through it report nothing.
        let hidden = inside.components().position(|part| matches!(part, Component::Normal(name) if is_hidden(Path::new(name))));
        match hidden {
            None => self.settling.note(path, report, now),
            Some(depth) => {
                let mut folder = self.root.clone();
                folder.extend(inside.components().take(depth));
                if report == Report::Complete && inside.components().nth(depth) == Some(Component::Normal("..data".as_ref())) {
                    self.settling.note(folder, Report::Complete, now);
                }
            }
        }
    }

    /// When [`Folder::turn`] has something to do next.
    pub fn next(&self) -> Option<Instant> {
        self.settling.next()
    }

    /// Reads what is due and says what that means.
    pub fn turn(&mut self, now: Instant) -> Vec<Event> {
        let mut changes = BTreeMap::new();
        // A removed file gives way at once to what replaces it, long before its objects are deleted.
        let waiting: Vec<PathBuf> = self.settling.waiting().map(Path::to_path_buf).collect();
        for path in waiting.iter().filter(|path| !path.exists()) {
            changes.extend(self.known_below(path).into_iter().map(|path| (self.name(&path), Contents::Vanished)));
        }
        for path in self.settling.take_due(now) {
            self.look_at(&path, now, &mut changes);
        }
        self.set.apply(changes)
    }

    /// A path that has settled: a file, a folder or gone.
    fn look_at(&mut self, path: &Path, now: Instant, changes: &mut BTreeMap<Arc<str>, Contents>) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let Ok(files) = files_below(path) else { return };
                for known in self.known_below(path) {
                    if !files.contains(&known) {
                        self.gone(&known, now, changes);
                    }
                }
                for file in files {
                    self.look_at_file(&file, now, changes);
                }
            }
            Ok(_) if is_configuration(path) => self.look_at_file(path, now, changes),
            Ok(_) => {}
            Err(_) => {
                for known in self.known_below(path) {
                    self.gone(&known, now, changes);
                }
            }
        }
    }

    fn look_at_file(&mut self, path: &Path, now: Instant, changes: &mut BTreeMap<Arc<str>, Contents>) {
        match fs::read(path) {
            // An editor that truncates before it writes.
            Ok(bytes) if bytes.trim_ascii().is_empty() && self.set.has_objects(&self.name(path)) => self.gone(path, now, changes),
            Ok(bytes) => {
                changes.insert(self.name(path), Contents::Bytes(bytes));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.gone(path, now, changes),
            Err(error) => {
                let message = format!("cannot be read: {error}; its former objects stay");
                changes.insert(self.name(path), Contents::Unreadable(message));
            }
        }
    }

    /// A file that holds nothing: the first time it has only vanished, after the quiet it is removed.
    fn gone(&mut self, path: &Path, now: Instant, changes: &mut BTreeMap<Arc<str>, Contents>) {
        let name = self.name(path);
        if self.set.has_vanished(&name) || !self.set.has_objects(&name) {
            changes.insert(name, Contents::Removed);
        } else {
            changes.insert(name, Contents::Vanished);
            self.settling.note(path.to_path_buf(), Report::Gone, now);
        }
    }

    /// The known files at or below `path`.
    fn known_below(&self, path: &Path) -> Vec<PathBuf> {
        self.set.files_below(&self.name(path)).iter().map(|name| self.root.join(&**name)).collect()
    }

    /// The path of a file as diagnostics show it.
    fn name(&self, path: &Path) -> Arc<str> {
        Arc::from(path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy())
    }
}
