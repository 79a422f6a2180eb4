//! The JSON of one object, to the typed object and what is wrong with it: the same as the file source would say.

use base::{Diagnostic, Labels, Level, Namespace, ObjectRef};
use istio_api::{AnyObject, Kind, Metadata, Object, Resource};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// The proxy's container.
const PROXY: &str = "istio-proxy";

/// An object is this within its kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Name {
    /// Empty for a kind without namespaces.
    pub namespace: Namespace,
    /// `metadata.name`.
    pub name: Arc<str>,
}

/// What became of an object.
pub struct Decoded {
    /// Which object.
    pub name: Name,
    /// The object, unless it has an error.
    pub object: Option<AnyObject>,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

/// As much of an object as its watch needs.
#[derive(Deserialize)]
pub struct Head {
    /// Its metadata.
    #[serde(default)]
    pub metadata: HeadMetadata,
}

/// As much of an object's metadata as its watch needs.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeadMetadata {
    /// Unique within kind and namespace.
    pub name: Arc<str>,
    /// Empty for a kind without namespaces.
    pub namespace: Namespace,
    /// The state of the whole store after the object was written.
    pub resource_version: String,
    /// Set by the server on the bookmark that ends a list.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The name of an object that may be malformed otherwise; `None` if it has none, which no server sends.
pub fn name_of(text: &[u8]) -> Option<Name> {
    let Head { metadata } = serde_json::from_slice(text).ok()?;
    (!metadata.name.is_empty()).then_some(Name { namespace: metadata.namespace, name: metadata.name })
}

/// Decodes an object of `kind`; `None` if not even its name can be read.
pub fn decode(kind: Kind, text: &[u8]) -> Option<Decoded> {
    if kind.is_kubernetes()
        && let Ok(object) = istio_api::decode_text(kind, text)
    {
        let mut object = slimmed(object);
        fit(&mut object);
        return Some(Decoded { name: named(object.metadata()), object: Some(object), diagnostics: Vec::new() });
    }
    let name = name_of(text)?;
    let reference = ObjectRef { kind: kind.as_str(), namespace: name.namespace.clone(), name: name.name.clone() };
    let mut value: Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(error) => {
            let diagnostics = vec![Diagnostic::error("SyntaxError", Some(reference), "", error.to_string())];
            return Some(Decoded { name, object: None, diagnostics });
        }
    };
    complete(kind, &mut value);
    let decoded = config::decode::decode_json(value);
    let mut diagnostics: Vec<Diagnostic> = decoded.diagnostics.into_iter().map(|(_, diagnostic)| diagnostic).collect();
    let item = decoded.objects.into_iter().find(|item| item.object.is_some());
    // With the rules of the definitions, which the cluster's own need not have had when the object was stored.
    let findings: Vec<Diagnostic> =
        item.iter().flat_map(|item| item.object.iter().flat_map(|object| validation::validate_document(object, &item.body))).collect();
    let mut object = item.and_then(|item| item.object);
    if findings.iter().any(|finding| finding.level == Level::Error) {
        object = None;
    }
    diagnostics.extend(findings);
    Some(Decoded { name, object: object.map(slimmed), diagnostics })
}

/// Items of a list do not repeat version and kind; and what nobody reads need not be walked through.
fn complete(kind: Kind, value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.insert("apiVersion".into(), kind.api_version().into());
    fields.insert("kind".into(), kind.as_str().into());
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

fn named(metadata: &Metadata) -> Name {
    Name { namespace: metadata.namespace.clone(), name: metadata.name.clone() }
}

/// Drops what nobody reads, and gives back what lists were allocated beyond their length (a list of one or two has room for
/// four): there are thousands of pods, slices and services.
fn fit(object: &mut AnyObject) {
    match object {
        AnyObject::Pod(pod) => {
            let Some(pod) = Arc::get_mut(pod) else { return };
            // Of the conditions, readiness alone says something of a workload.
            pod.status.conditions.retain(|condition| condition.condition_type == "Ready");
            pod.status.conditions.shrink_to_fit();
            // A single one is said in `podIP` as well.
            if pod.status.pod_ips.len() < 2 {
                pod.status.pod_ips = Vec::new();
            }
            pod.status.pod_ips.shrink_to_fit();
            for containers in [&mut pod.spec.containers, &mut pod.spec.init_containers] {
                // Which port has which name, EndpointSlices tell; of the containers, the proxy's alone is looked at.
                containers.retain(|container| container.name == PROXY);
                containers.shrink_to_fit();
                containers.iter_mut().for_each(|container| container.ports = Vec::new());
            }
            pod.metadata.owner_references.shrink_to_fit();
        }
        AnyObject::EndpointSlice(slice) => {
            let Some(slice) = Arc::get_mut(slice) else { return };
            slice.spec.endpoints.shrink_to_fit();
            slice.spec.endpoints.iter_mut().for_each(|endpoint| endpoint.addresses.shrink_to_fit());
            slice.spec.ports.shrink_to_fit();
            slice.metadata.owner_references = Vec::new();
        }
        AnyObject::Service(service) => {
            let Some(service) = Arc::get_mut(service) else { return };
            service.spec.ports.shrink_to_fit();
            service.spec.cluster_ips.shrink_to_fit();
            service.spec.ip_families.shrink_to_fit();
        }
        _ => {}
    }
}

/// Keeps equal labels once: the pods of a Deployment carry the same ones.
#[derive(Default)]
pub struct SharedLabels {
    known: HashSet<Labels>,
    /// How many there were when those that nobody uses any more were last thrown out.
    swept: usize,
}

impl SharedLabels {
    /// The object with labels that are shared.
    pub fn share(&mut self, object: &mut AnyObject) {
        macro_rules! share {
            ($( $kind:ident { $($rest:tt)* } )+) => {
                match object {
                    $( AnyObject::$kind(object) => {
                        // Nobody else has it yet.
                        if let Some(object) = Arc::get_mut(object) {
                            object.metadata.labels = self.shared(std::mem::take(&mut object.metadata.labels));
                        }
                    } )+
                }
            };
        }
        istio_api::for_each_kind!(share);
    }

    fn shared(&mut self, labels: Labels) -> Labels {
        if labels.is_empty() {
            return labels;
        }
        if let Some(known) = self.known.get(&labels) {
            return known.clone();
        }
        if self.known.len() > 2 * self.swept + 64 {
            self.known.retain(Labels::is_shared);
            self.swept = self.known.len();
        }
        self.known.insert(labels.clone());
        labels
    }
}

/// Without what changes although nothing that is read changes, and what only repeats the object.
fn slimmed(object: AnyObject) -> AnyObject {
    macro_rules! slim {
        ($( $kind:ident { $($rest:tt)* } )+) => {
            match object { $( AnyObject::$kind(object) => AnyObject::from(without_weight(object)), )+ }
        };
    }
    istio_api::for_each_kind!(slim)
}

fn without_weight<T: Resource>(object: Arc<Object<T>>) -> Object<T> {
    let mut object = Arc::unwrap_or_clone(object);
    object.metadata.resource_version = String::new();
    object.metadata.annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    // Of these there are thousands.
    if matches!(T::KIND, Kind::Pod | Kind::EndpointSlice | Kind::Service | Kind::Node) {
        // Tokens are bound to pods by it.
        if T::KIND != Kind::Pod {
            object.metadata.uid = String::new();
        }
        object.metadata.annotations.retain(|key, _| key.contains("istio.io/") && key != "sidecar.istio.io/status");
    }
    object
}
