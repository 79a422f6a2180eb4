//! The two files of mesh-wide settings: MeshConfig and MeshNetworks.
//!
//! Each file holds the settings themselves, or the ConfigMap in which Istio keeps them. A missing file means the
//! defaults. As in Istio, an unknown field is left out (with a warning), since newer settings must not stop an older
//! control plane.

use super::{
    Error,
    settle::{Report, Settling},
    watch::{interpret, log, observe},
};
use crate::{
    Change, Event,
    decode::{Finding, Node, Path as FieldPath, UnknownFields, Walk, parse, split},
};
use base::{ClusterId, Diagnostic, Level};
use istio_api::mesh::{MeshConfig, MeshNetworks, mesh_config_schema, mesh_networks_schema};
use notify::RecursiveMode;
use serde_json::Value as Json;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// One of the two kinds of settings.
trait Settings: Default + PartialEq + Clone {
    /// The key of the ConfigMap's data that holds them.
    const KEY: &'static str;
    fn schema() -> &'static Json;
    fn decode(json: Json) -> Result<Self, serde_json::Error>;
    /// What is wrong with the values.
    fn check(&self) -> Vec<Diagnostic>;
    fn change(self) -> Change;
}

impl Settings for MeshConfig {
    const KEY: &'static str = "mesh";

    fn schema() -> &'static Json {
        mesh_config_schema()
    }

    fn decode(json: Json) -> Result<Self, serde_json::Error> {
        Self::from_yaml_value(json)
    }

    fn check(&self) -> Vec<Diagnostic> {
        validation::validate_mesh_config(self)
    }

    fn change(self) -> Change {
        Change::Mesh(Arc::new(self))
    }
}

impl Settings for MeshNetworks {
    const KEY: &'static str = "meshNetworks";

    fn schema() -> &'static Json {
        mesh_networks_schema()
    }

    fn decode(json: Json) -> Result<Self, serde_json::Error> {
        Self::from_yaml_value(json)
    }

    fn check(&self) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn change(self) -> Change {
        Change::Networks(Arc::new(self))
    }
}

/// Reads MeshConfig; the defaults if the file is missing. Fields with an error keep their default.
pub fn load_mesh_config(path: &Path) -> (MeshConfig, Vec<Diagnostic>) {
    load(path)
}

/// Reads MeshNetworks; none if the file is missing. Fields with an error are left out.
pub fn load_mesh_networks(path: &Path) -> (MeshNetworks, Vec<Diagnostic>) {
    load(path)
}

/// Reads MeshConfig out of the text of a ConfigMap's entry; diagnostics name it `source`.
pub fn read_mesh_config(source: &Arc<str>, text: &str) -> (MeshConfig, Vec<Diagnostic>) {
    settings(source, text)
}

/// Reads MeshNetworks out of the text of a ConfigMap's entry; diagnostics name it `source`.
pub fn read_mesh_networks(source: &Arc<str>, text: &str) -> (MeshNetworks, Vec<Diagnostic>) {
    settings(source, text)
}

fn load<S: Settings>(path: &Path) -> (S, Vec<Diagnostic>) {
    let file = name(path);
    match read(path) {
        Ok(text) => settings(&file, &text),
        Err(error) => {
            let message = format!("the file cannot be read: {error}; make it readable");
            (S::default(), vec![Diagnostic::error("UnreadableFile", None, "", message).at(&file, 1)])
        }
    }
}

/// The text of a file; empty if there is none.
fn read(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

fn name(path: &Path) -> Arc<str> {
    Arc::from(path.to_string_lossy())
}

/// Parses the settings in `text`.
fn settings<S: Settings>(file: &Arc<str>, text: &str) -> (S, Vec<Diagnostic>) {
    let mut findings = Vec::new();
    let settings = tree(text).and_then(|found| {
        let Some((node, lines_before)) = found else { return Ok(S::default()) };
        let (node, lines_before) = unwrap_config_map::<S>(node, lines_before)?;
        let Some(node) = node else { return Ok(S::default()) };
        let json = Walk { unknown: UnknownFields::Warn, findings: &mut findings }.value(&node, S::schema(), &FieldPath::Root);
        findings.iter_mut().for_each(|finding| finding.line += lines_before);
        let mut json = json.unwrap_or_default();
        let unreadable = |error: serde_json::Error| Finding::error("", node.line + lines_before, error.to_string());
        let settings = S::decode(json.clone()).map_err(unreadable)?;
        let wrong = settings.check();
        if wrong.is_empty() {
            return Ok(settings);
        }
        for diagnostic in wrong {
            // The fields that are wrong keep their default.
            let field = diagnostic.field.split(['.', '[']).next().unwrap_or_default().to_owned();
            let line = node.get(&field).map_or(node.line, |node| node.line) + lines_before;
            if let (Level::Error, Some(fields)) = (diagnostic.level, json.as_object_mut()) {
                fields.remove(&field);
            }
            findings.push(Finding { level: diagnostic.level, ..Finding::error(diagnostic.field, line, diagnostic.message) });
        }
        S::decode(json).map_err(unreadable)
    });
    let settings = settings.unwrap_or_else(|error| {
        findings.push(error);
        S::default()
    });
    let diagnostics = findings.into_iter().map(|finding| {
        let diagnostic = Diagnostic::error("InvalidMeshSettings", None, finding.field, finding.message).at(file, finding.line);
        Diagnostic { level: finding.level, ..diagnostic }
    });
    (settings, diagnostics.collect())
}

/// The first document of a text, with the number of lines before it.
fn tree(text: &str) -> Result<Option<(Node, usize)>, Finding> {
    let Some(document) = split(text).into_iter().next() else { return Ok(None) };
    match parse(document.text) {
        Ok(node) => Ok(node.map(|node| (node, document.lines_before))),
        Err(error) => Err(Finding::error("", error.line + document.lines_before, error.message)),
    }
}

/// The settings inside a ConfigMap, if the document is one.
fn unwrap_config_map<S: Settings>(node: Node, lines_before: usize) -> Result<(Option<Node>, usize), Finding> {
    if node.get("kind").and_then(Node::as_str) != Some("ConfigMap") {
        return Ok((Some(node), lines_before));
    }
    let Some(inner) = node.get("data").and_then(|data| data.get(S::KEY)) else { return Ok((None, 0)) };
    // A block scalar's line is that of its first line of text.
    let before = inner.line - 1 + lines_before;
    let found = tree(inner.as_str().unwrap_or_default()).map_err(|error| Finding { line: error.line + before, ..error })?;
    Ok(found.map_or((None, 0), |(node, lines)| (Some(node), lines + before)))
}

/// Settings that are followed.
struct Followed<S> {
    path: PathBuf,
    current: Option<S>,
    said: Vec<Diagnostic>,
}

impl<S: Settings> Followed<S> {
    fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), current: None, said: Vec::new() }
    }

    /// Reads the file again. Settings with an error do not replace good ones.
    fn turn(&mut self) -> Vec<Change> {
        let (settings, diagnostics) = load::<S>(&self.path);
        let good = diagnostics.iter().all(|diagnostic| diagnostic.level != Level::Error);
        let mut changes = Vec::new();
        if self.current.is_none() || good && self.current.as_ref() != Some(&settings) {
            self.current = Some(settings.clone());
            changes.push(settings.change());
        }
        if diagnostics != self.said {
            self.said.clone_from(&diagnostics);
            changes.push(Change::Findings { source: name(&self.path), diagnostics });
        }
        changes
    }
}

/// Sends the settings of the files `mesh` and `networks` as the first batch, and again whenever they change, until `out`
/// is closed. The first batch always holds [`Change::Mesh`] and [`Change::Networks`]; [`Change::Synced`] is never sent,
/// because the objects' source does.
///
/// A folder that does not exist is not watched. Fails if the operating system refuses to watch one that does.
pub async fn watch_mesh(mesh: &Path, networks: &Path, cluster: &ClusterId, out: mpsc::Sender<Vec<Event>>) -> Result<(), Error> {
    let (reports, mut inbox) = mpsc::unbounded_channel();
    let mut folders: Vec<PathBuf> = [mesh, networks].into_iter().map(folder_of).filter(|folder| folder.is_dir()).collect();
    folders.dedup();
    let mut watchers = Vec::new();
    for folder in &folders {
        watchers.push(observe(folder, RecursiveMode::NonRecursive, reports.clone())?);
    }
    let (mut mesh, mut networks) = (Followed::<MeshConfig>::new(mesh), Followed::<MeshNetworks>::new(networks));
    let mut settling = Settling::default();
    loop {
        let changes = mesh.turn().into_iter().chain(networks.turn());
        let events: Vec<Event> = changes.map(|change| Event { cluster: cluster.clone(), change }).collect();
        log(&events);
        if !events.is_empty() && out.send(events).await.is_err() {
            return Ok(());
        }
        loop {
            let next = settling.next();
            tokio::select! {
                () = out.closed() => return Ok(()),
                Some(report) = inbox.recv() => note(&mut settling, report, &[&mesh.path, &networks.path]),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            if !settling.take_due(Instant::now()).is_empty() {
                break;
            }
        }
    }
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Notes what concerns the two files, or the `..data` link of a mounted ConfigMap through which they are links.
fn note(settling: &mut Settling, report: notify::Result<notify::Event>, files: &[&Path; 2]) {
    let Ok(report) = report else { return };
    let Some(meaning) = interpret(&report).or(report.need_rescan().then_some(Report::Complete)) else { return };
    let concerns = |path: &Path| {
        let named = path.file_name();
        named == Some("..data".as_ref()) || files.iter().any(|file| named == file.file_name())
    };
    if report.need_rescan() {
        settling.note(PathBuf::new(), meaning, Instant::now());
    }
    for path in report.paths.into_iter().filter(|path| concerns(path)) {
        settling.note(path, meaning, Instant::now());
    }
}
