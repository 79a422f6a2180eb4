//! From files to what analyzers look at, and from their findings back to files and lines.

use super::{files::File, message::Message};
use analysis::{Foreign, Mesh, Needs, Suppression};
use base::{ClusterId, Diagnostic, DomainSuffix, Level, Namespace, ObjectRef};
use config::{
    Change, Event, Store,
    decode::{self, Item, Node},
};
use istio_api::AnyObject;
use serde_json::Value;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use xds::{Input as Turn, State};

/// Namespaces that analysis leaves alone, as injection does.
const IGNORED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// Where an object stands.
struct Place {
    file: Arc<str>,
    lines_before: usize,
    node: Node,
}

/// The domain of the names of Services: the default, as nothing in files tells of another.
const DOMAIN: &str = "cluster.local";

/// Everything that was read.
pub struct Input {
    /// For objects without a namespace; empty leaves them without.
    namespace: Namespace,
    events: Vec<Event>,
    foreign: Foreign,
    places: BTreeMap<ObjectRef, Place>,
    /// The values of the annotation that suppresses messages.
    annotations: BTreeMap<ObjectRef, String>,
}

impl Input {
    /// Nothing but the settings of the mesh. What is wrong with their files is said on standard error.
    pub fn new(namespace: &str, mesh: Option<&Path>, networks: Option<&Path>) -> Self {
        let mut events = Vec::new();
        let say = |findings: Vec<Diagnostic>| findings.iter().for_each(|finding| eprintln!("{finding}"));
        if let Some(path) = mesh {
            let (mesh, findings) = config::file::load_mesh_config(path);
            say(findings);
            events.push(event(Change::Mesh(Arc::new(mesh))));
        }
        if let Some(path) = networks {
            let (networks, findings) = config::file::load_mesh_networks(path);
            say(findings);
            events.push(event(Change::Networks(Arc::new(networks))));
        }
        Self {
            namespace: Namespace::new(namespace),
            events,
            foreign: Foreign::default(),
            places: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// Adds an object of the running mesh.
    pub fn add_running(&mut self, object: Value) {
        for item in decode::decode_json(object).objects {
            self.events.extend(item.object.map(|object| event(Change::Set(object))));
        }
    }

    /// Adds a file, whose objects replace those of the same name. Whether it could be read; what could not, and unknown
    /// fields, are said on standard error.
    pub fn add(&mut self, file: &File) -> bool {
        let name: Arc<str> = Arc::from(file.name.as_str());
        let mut whole = true;
        for document in decode::split(&file.text) {
            let decoded = decode::decode(document.text);
            for (line, finding) in &decoded.diagnostics {
                whole &= finding.level != Level::Error || finding.object.is_some();
                eprintln!("{}", finding.clone().at(&name, document.lines_before + line));
            }
            for item in decoded.objects {
                whole &= item.object.is_some();
                self.add_item(item, &name, document.lines_before);
            }
            for node in decoded.foreign {
                let Some(object) = self.foreign.read(&node.to_json(), &self.namespace) else { continue };
                self.places.insert(object, Place { file: name.clone(), lines_before: document.lines_before, node });
            }
        }
        whole
    }

    fn add_item(&mut self, item: Item, file: &Arc<str>, lines_before: usize) {
        let node = item.written().clone();
        let given =
            node.get("metadata").and_then(|metadata| metadata.get("namespace")).and_then(Node::as_str).is_some_and(|name| !name.is_empty());
        let Some(object) = item.object else { return };
        let object = if given || !object.kind().namespaced() { object } else { moved(object, item.body, &self.namespace) };
        let name = object.object_ref();
        let own = if object.kind() == istio_api::Kind::Namespace { &*name.name } else { name.namespace.as_str() };
        if IGNORED.contains(&own) {
            return;
        }
        let annotation = object.metadata().annotations.get("galley.istio.io/analyze-suppress");
        self.annotations.extend(annotation.map(|codes| (name.clone(), codes.clone())));
        self.places.insert(name, Place { file: file.clone(), lines_before, node });
        self.events.push(event(Change::Set(object)));
    }

    /// The messages about everything that was added, without those that nobody wants.
    pub fn analyze(self, needs: Needs, suppressions: &[Suppression]) -> Vec<Message> {
        let Self { namespace, mut events, foreign, places, annotations } = self;
        let findings = match needs {
            Needs::Configuration => {
                let mut store = Store::default();
                store.apply(events);
                analysis::analyze(&Mesh { store: &store, foreign: &foreign, snapshot: None }, needs, true)
            }
            Needs::Services | Needs::Workloads => {
                events.extend(foreign.pods().into_iter().map(|pod| event(Change::Set(pod.into()))));
                let mut state = State::new(DomainSuffix::new(DOMAIN));
                state.turn(events.into_iter().map(Turn::Event).collect());
                let mesh = Mesh { store: state.store(), foreign: &foreign, snapshot: Some(state.snapshot()) };
                analysis::analyze(&mesh, needs, true)
            }
        };
        let wanted = |finding: &&Diagnostic| {
            let object = finding.object.as_ref();
            let elsewhere = object.is_some_and(|object| {
                let own = object.namespace.as_str();
                !namespace.as_str().is_empty() && !own.is_empty() && own != namespace.as_str()
            });
            let annotation = object.and_then(|object| annotations.get(object)).map(String::as_str);
            !elsewhere && !analysis::is_suppressed(finding, suppressions, annotation)
        };
        findings.iter().filter(wanted).map(|finding| Message::new(finding, reference(finding, &places))).collect()
    }
}

fn event(change: Change) -> Event {
    Event { cluster: ClusterId::default(), change }
}

/// The object in another namespace.
fn moved(object: AnyObject, body: Value, namespace: &Namespace) -> AnyObject {
    let metadata = istio_api::Metadata { namespace: namespace.clone(), ..object.metadata().clone() };
    istio_api::decode(object.kind(), metadata, body).unwrap_or(object)
}

/// File and line of the field that a finding is about.
fn reference(finding: &Diagnostic, places: &BTreeMap<ObjectRef, Place>) -> Option<String> {
    let place = places.get(finding.object.as_ref()?)?;
    let line = if finding.field.is_empty() { place.node.line } else { decode::line_of(&place.node, &finding.field) };
    Some(format!("{}:{}", place.file, place.lines_before + line))
}
