//! One document → the objects that it names, and everything that is wrong with it.

use super::{
    identity::{Identity, ObjectKey, identify, name_error, namespace_error},
    locate::{line_of, refused_field},
    parse::{SyntaxError, parse},
    schema::{Finding, UnknownFields, Walk},
    tree::{Node, Path, Value, duplicate_keys},
};
use base::{Diagnostic, Level, Namespace};
use istio_api::{AnyObject, Kind, Metadata, Object};
use serde_json::{Map, Value as Json, json};
use std::sync::{Arc, LazyLock};

/// What a document says.
#[derive(Default)]
pub struct Decoded {
    /// The objects that it names: one, or those of a list.
    pub objects: Vec<Item>,
    /// What is wrong, with the line in the document, counted from 1.
    pub diagnostics: Vec<(usize, Diagnostic)>,
    /// It cannot be parsed, or not even be said which objects it names.
    pub broken: bool,
    /// Objects of kinds that the control plane does not read, as they are written.
    pub foreign: Vec<Node>,
}

/// An object that a document names.
pub struct Item {
    /// Which object.
    pub key: ObjectKey,
    /// Where it begins.
    pub line: usize,
    /// The object, unless it has an error.
    pub object: Option<AnyObject>,
    /// What it was decoded from, in the spelling of the schema and without what was left out.
    pub body: Json,
    node: Node,
}

impl Item {
    /// The line in the document of the field with this path.
    pub fn line_of(&self, field: &str) -> usize {
        line_of(&self.node, field)
    }

    /// The object as it is written.
    pub fn written(&self) -> &Node {
        &self.node
    }
}

/// Decodes one document of YAML or JSON.
pub fn decode(text: &str) -> Decoded {
    let mut decoded = Decoded::default();
    match tree(text) {
        Ok(Some(node)) => decoded.document(node),
        Ok(None) => {}
        Err(error) => decoded.lost(error.line, Diagnostic::error("SyntaxError", None, "", error.message)),
    }
    decoded
}

/// Decodes one object that is JSON already, as the API server sends it; everything stands in line 1.
pub fn decode_json(object: Json) -> Decoded {
    let mut decoded = Decoded::default();
    decoded.document(Node::from_json(object, 1));
    decoded
}

/// JSON is YAML but for details such as escaped surrogates, so what YAML refuses may still be JSON.
fn tree(text: &str) -> Result<Option<Node>, SyntaxError> {
    parse(text).or_else(|error| {
        if !text.trim_start().starts_with(['{', '[']) {
            return Err(error);
        }
        serde_json::from_str(text).map(|value| Some(Node::from_json(value, 1))).map_err(|_| error)
    })
}

impl Decoded {
    /// A diagnostic after which nobody knows which objects were meant.
    fn lost(&mut self, line: usize, diagnostic: Diagnostic) {
        self.diagnostics.push((line, diagnostic));
        self.broken = true;
    }

    fn document(&mut self, node: Node) {
        match &node.value {
            Value::Null => {}
            Value::Mapping(_) => match list_items(&node) {
                Some(items) => items.into_iter().for_each(|item| self.document(item)),
                None => self.object(node),
            },
            _ => {
                let message = format!("a document must be an object with apiVersion, kind and metadata, but it is {}", node.describe());
                self.lost(node.line, Diagnostic::error("NotAnObject", None, "", message));
            }
        }
    }

    fn object(&mut self, node: Node) {
        let kind = match identify(&node) {
            Identity::Known(kind) => kind,
            Identity::Foreign => {
                tracing::debug!(kind = node.get("kind").and_then(Node::as_str), "skipped: the kind is none that the control plane reads");
                self.foreign.push(node);
                return;
            }
            Identity::Unknown(code, field, message) => {
                self.lost(line_of(&node, field), Diagnostic::error(code, None, field, message));
                return;
            }
        };
        let mut findings = Vec::new();
        duplicate_keys(&node, &Path::Root, &mut |field, line| {
            let message = "the key stands here a second time in the same mapping; remove one";
            findings.push(("DuplicateKey", Finding::error(field, line, message)));
        });
        let mut wrong = Vec::new();
        let metadata = read_metadata(kind, &node, &mut wrong);
        let Some((key, metadata)) = metadata.and_then(|metadata| identity_of(kind, metadata, &node, &mut wrong)) else {
            for finding in wrong {
                self.lost(finding.line, Diagnostic::error("InvalidMetadata", None, finding.field, format!("{kind}: {}", finding.message)));
            }
            return;
        };
        let code = if kind.is_kubernetes() { "InvalidObject" } else { "IST0106" };
        let body = match kind.schema() {
            Some(schema) => strict_body(kind, schema, &node, &mut wrong),
            None => node.to_json(),
        };
        let object = read_object(kind, metadata, &body, &node, &mut wrong);
        findings.extend(wrong.into_iter().map(|finding| (code, finding)));
        let object = object.filter(|_| findings.iter().all(|(_, finding)| !finding.fatal));
        for (code, Finding { field, line, message, level, .. }) in findings {
            let diagnostic = Diagnostic::error(code, Some(key.object_ref()), field, message);
            self.diagnostics.push((line, Diagnostic { level, ..diagnostic }));
        }
        self.objects.push(Item { key, line: node.line, object, body, node });
    }
}

/// The items of a `List`, or of a typed one as the API server writes it, which leaves kind and version out of its items.
fn list_items(node: &Node) -> Option<Vec<Node>> {
    let kind = node.get("kind")?.as_str()?.strip_suffix("List")?;
    let Value::Sequence(items) = &node.get("items")?.value else { return None };
    let version = node.get("apiVersion").cloned();
    let fill = |item: &Node| {
        let mut item = item.clone();
        if let (Value::Mapping(entries), false) = (&mut item.value, kind.is_empty()) {
            let line = item.line;
            let known = |entries: &[super::tree::Entry], key: &str| entries.iter().any(|entry| entry.key == key);
            if !known(entries, "kind") {
                let value = Node { line, value: Value::String(kind.to_owned()) };
                entries.push(super::tree::Entry { key: "kind".into(), line, value });
            }
            if let (false, Some(value)) = (known(entries, "apiVersion"), version.clone()) {
                entries.push(super::tree::Entry { key: "apiVersion".into(), line, value });
            }
        }
        item
    };
    Some(items.iter().map(fill).collect())
}

/// The fields of `metadata` that the API server knows; of most only the name counts here.
static METADATA: LazyLock<Json> = LazyLock::new(|| {
    let words = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let word = json!({ "type": "string" });
    json!({ "type": "object", "properties": {
        "name": word, "namespace": word, "labels": words, "annotations": words, "creationTimestamp": word,
        "generation": { "type": "integer" }, "resourceVersion": word, "uid": word, "ownerReferences": {}, "generateName": word,
        "finalizers": {}, "managedFields": {}, "deletionTimestamp": word, "deletionGracePeriodSeconds": {}, "selfLink": word,
        "clusterName": word,
    } })
});

fn walk<'a>(kind: Kind, findings: &'a mut Vec<Finding>) -> Walk<'a> {
    let unknown = match kind.group() {
        _ if kind.is_kubernetes() => UnknownFields::Skip,
        // A policy without one of its conditions would be another policy.
        "security.istio.io" => UnknownFields::Refuse,
        _ => UnknownFields::LeaveOut,
    };
    Walk { unknown, findings }
}

fn read_metadata(kind: Kind, node: &Node, findings: &mut Vec<Finding>) -> Option<Metadata> {
    let Some(metadata) = node.get("metadata") else {
        findings.push(Finding::error("metadata", node.line, "metadata is missing; write at least its name"));
        return None;
    };
    let json = walk(kind, findings).value(metadata, &METADATA, &Path::Root.key("metadata"))?;
    serde_json::from_value(json).map_err(|error| findings.push(Finding::error("metadata", metadata.line, error.to_string()))).ok()
}

/// Name and namespace, checked and completed.
fn identity_of(kind: Kind, mut metadata: Metadata, node: &Node, findings: &mut Vec<Finding>) -> Option<(ObjectKey, Metadata)> {
    let mut find = |field: &str, message: String| findings.push(Finding::error(field, line_of(node, field), message));
    if metadata.name.is_empty() {
        find("metadata.name", "metadata.name is missing; every object needs one".into());
        return None;
    }
    let misspelt = name_error(kind, &metadata.name);
    if !kind.namespaced() {
        metadata.namespace = Namespace::default();
    } else if metadata.namespace.as_str().is_empty() {
        metadata.namespace = Namespace::new("default");
    } else if let Some(message) = namespace_error(metadata.namespace.as_str()) {
        find("metadata.namespace", message);
    }
    if let Some(message) = misspelt {
        // Harmless, though the API server would refuse it.
        let letters = metadata.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        let finding = Finding::error("metadata.name", line_of(node, "metadata.name"), message);
        findings.push(if letters { Finding { level: Level::Warning, fatal: false, ..finding } } else { finding });
    }
    Some((ObjectKey { kind, namespace: metadata.namespace.clone(), name: metadata.name.clone() }, metadata))
}

/// The typed object; `None` if serde refuses it, of which the findings tell.
fn read_object(kind: Kind, metadata: Metadata, body: &Json, node: &Node, findings: &mut Vec<Finding>) -> Option<AnyObject> {
    if findings.iter().any(|finding| finding.fatal) {
        return None;
    }
    match istio_api::decode(kind, metadata, body.clone()) {
        Ok(object) => Some(with_plain_secrets(object)),
        Err(error) => {
            let (field, message) = refused_field(kind, body).unwrap_or_else(|| (String::new(), error.to_string()));
            findings.push(Finding::error(field.clone(), line_of(node, &field), message));
            None
        }
    }
}

/// `spec` along its schema, and `status` as it is.
fn strict_body(kind: Kind, schema: &Json, node: &Node, findings: &mut Vec<Finding>) -> Json {
    let mut body = Map::new();
    let Value::Mapping(entries) = &node.value else { return Json::Object(body) };
    for entry in entries {
        let path = Path::Root.key(&entry.key);
        match entry.key.as_str() {
            "apiVersion" | "kind" | "metadata" => {}
            "spec" if entry.value.value == Value::Null => {}
            "spec" => {
                if let Some(spec) = walk(kind, findings).value(&entry.value, schema, &path) {
                    body.insert("spec".into(), spec);
                }
            }
            "status" => {
                body.insert("status".into(), entry.value.to_json());
            }
            other => {
                let message = format!("unknown field {other:?}; only apiVersion, kind, metadata, spec and status can stand here");
                findings.push(Finding::left_out(path.to_string(), entry.line, message));
            }
        }
    }
    Json::Object(body)
}

/// Moves `stringData` into `data`, as the API server does.
fn with_plain_secrets(object: AnyObject) -> AnyObject {
    match object {
        AnyObject::Secret(secret) if !secret.spec.string_data.is_empty() => {
            let mut secret: Object<_> = Arc::unwrap_or_clone(secret);
            let plain = std::mem::take(&mut secret.spec.string_data);
            secret.spec.data.extend(plain.into_iter().map(|(key, text)| (key, istio_api::Bytes(text.into_bytes()))));
            AnyObject::from(secret)
        }
        object => object,
    }
}
