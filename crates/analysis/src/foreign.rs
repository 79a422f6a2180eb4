//! Kinds that only analysis reads: they are no rows of the table of kinds, since the control plane never watches them.

use crate::selector::LabelSelector;
use base::{Namespace, ObjectRef};
use istio_api::{Metadata, Object, kubernetes::pod::Pod};
use serde::Deserialize;
use serde_json::Value;

/// One object of such a kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForeignObject<T> {
    /// Name, labels and the like.
    pub metadata: Metadata,
    /// What matters of the rest.
    pub content: T,
}

/// The objects of all such kinds, in the order in which they were read.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    /// Deployments.
    pub deployments: Vec<ForeignObject<Deployment>>,
    /// Both kinds of webhook configurations.
    pub webhooks: Vec<ForeignObject<WebhookConfiguration>>,
    /// CustomResourceDefinitions.
    pub definitions: Vec<ForeignObject<Definition>>,
    /// Gateways of the Gateway API.
    pub kubernetes_gateways: Vec<ForeignObject<KubernetesGateway>>,
}

/// Which kind of webhook configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookKind {
    /// `MutatingWebhookConfiguration`
    #[default]
    Mutating,
    /// `ValidatingWebhookConfiguration`
    Validating,
}

/// A Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deployment {
    /// Labels and annotations of its pods.
    pub pod_metadata: Metadata,
    /// Its pods.
    pub pod: Pod,
    /// Names of environment variables of its containers that have a value.
    pub variables: Vec<String>,
}

/// A webhook configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebhookConfiguration {
    /// Which of the two kinds.
    pub kind: WebhookKind,
    /// Its webhooks.
    pub webhooks: Vec<Webhook>,
}

/// One webhook.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// Whom the API server calls.
    pub client_config: ClientConfig,
    /// For which namespaces; unset means all.
    pub namespace_selector: Option<LabelSelector>,
    /// For which objects; unset means all.
    pub object_selector: Option<LabelSelector>,
}

/// Whom the API server calls.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClientConfig {
    /// An address.
    pub url: Option<String>,
    /// A Service of the cluster.
    pub service: Option<ServiceReference>,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceReference {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// A CustomResourceDefinition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

/// A Gateway of the Gateway API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KubernetesGateway {
    /// The host names of its listeners; empty for all hosts.
    pub hosts: Vec<String>,
}

impl<T> ForeignObject<T> {
    pub(crate) fn object_ref(&self, kind: &'static str) -> ObjectRef {
        ObjectRef { kind, namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }
}

impl WebhookKind {
    /// `MutatingWebhookConfiguration`
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }
}

impl Foreign {
    /// Reads a document, whose namespace is `default_namespace` if it has none and its kind needs one. The name of the
    /// object, if it is of a kind that is read; what does not fit its kind is left out, for it is somebody else's to say.
    pub fn read(&mut self, document: &Value, default_namespace: &Namespace) -> Option<ObjectRef> {
        let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
        let group = text("apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
        let mut metadata = decode::<Metadata>(document.get("metadata"));
        let kind = match (group, text("kind")) {
            ("apps", "Deployment") => {
                namespaced(&mut metadata, default_namespace);
                self.deployments.push(ForeignObject { metadata: metadata.clone(), content: deployment(document) });
                DEPLOYMENT
            }
            ("admissionregistration.k8s.io", kind @ ("MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration")) => {
                metadata.namespace = Namespace::default();
                let kind = if kind.starts_with('M') { WebhookKind::Mutating } else { WebhookKind::Validating };
                let content = WebhookConfiguration { kind, webhooks: decode(document.get("webhooks")) };
                self.webhooks.push(ForeignObject { metadata: metadata.clone(), content });
                kind.as_str()
            }
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                metadata.namespace = Namespace::default();
                let at = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                let content = Definition { group: at("/spec/group"), kind: at("/spec/names/kind") };
                self.definitions.push(ForeignObject { metadata: metadata.clone(), content });
                DEFINITION
            }
            ("gateway.networking.k8s.io", "Gateway") => {
                namespaced(&mut metadata, default_namespace);
                self.kubernetes_gateways.push(ForeignObject { metadata: metadata.clone(), content: kubernetes_gateway(document) });
                "Gateway"
            }
            _ => return None,
        };
        Some(ObjectRef { kind, namespace: metadata.namespace, name: metadata.name })
    }
}

impl Foreign {
    /// The pods that Deployments of files would have: one for each, called as it.
    pub fn pods(&self) -> Vec<Object<Pod>> {
        let pod = |deployment: &ForeignObject<Deployment>| {
            let mut metadata = deployment.content.pod_metadata.clone();
            namespaced(&mut metadata, &deployment.metadata.namespace);
            if metadata.name.is_empty() {
                metadata.name = deployment.metadata.name.clone();
            }
            Object::new(metadata, deployment.content.pod.clone())
        };
        self.deployments.iter().map(pod).collect()
    }
}

pub(crate) const DEPLOYMENT: &str = "Deployment";
pub(crate) const DEFINITION: &str = "CustomResourceDefinition";

fn decode<T: for<'de> Deserialize<'de> + Default>(value: Option<&Value>) -> T {
    value.and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
}

fn namespaced(metadata: &mut Metadata, default_namespace: &Namespace) {
    if metadata.namespace.as_str().is_empty() {
        metadata.namespace = default_namespace.clone();
    }
}

fn deployment(document: &Value) -> Deployment {
    let template = document.pointer("/spec/template");
    let containers = template.and_then(|template| template.pointer("/spec/containers")).and_then(Value::as_array);
    let variables = containers.into_iter().flatten().filter_map(|container| container.get("env")?.as_array()).flatten();
    let set = |variable: &Value| {
        let given = variable.get("value").and_then(Value::as_str).is_some_and(|value| !value.is_empty());
        variable.get("name").and_then(Value::as_str).filter(|_| given).map(str::to_owned)
    };
    Deployment {
        pod_metadata: decode(template.and_then(|template| template.get("metadata"))),
        pod: decode(template.and_then(|template| template.get("spec"))),
        variables: variables.filter_map(set).collect(),
    }
}

fn kubernetes_gateway(document: &Value) -> KubernetesGateway {
    let listeners = document.pointer("/spec/listeners").and_then(Value::as_array);
    let host = |listener: &Value| listener.get("hostname").and_then(Value::as_str).unwrap_or_default().to_owned();
    let hosts: Vec<String> = listeners.into_iter().flatten().map(host).collect();
    let everything = hosts.iter().any(String::is_empty);
    KubernetesGateway { hosts: if everything { Vec::new() } else { hosts } }
}
