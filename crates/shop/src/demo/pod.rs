//! The Pods of a folder of YAML: what the demo starts in place of a kubelet.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

/// The port of an Envoy's admin page, on the address of its Pod.
const ADMIN_PORT: u16 = 15000;

/// What runs beside the program of a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// An Envoy for its program, the ordinary case.
    Sidecar,
    /// An Envoy alone: a gateway.
    Router,
    /// Nothing: the Pod is outside of the mesh.
    None,
}

/// A Pod as the demo needs it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its service account; `default` if none is named.
    pub service_account: String,
    /// Its address, a loopback address of its own.
    pub address: IpAddr,
    /// The arguments of the binary `shop`; none for a gateway.
    pub arguments: Option<Vec<String>>,
    /// The Envoy beside it.
    pub proxy: Proxy,
}

impl Pod {
    /// Where its Envoy's admin page is.
    pub fn admin(&self) -> SocketAddr {
        SocketAddr::new(self.address, ADMIN_PORT)
    }

    /// The `app` label, or the name of the Pod.
    pub fn app(&self) -> &str {
        self.labels.get("app").unwrap_or(&self.name)
    }
}

#[derive(Deserialize)]
struct Object {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The Pods in the YAML files of `folder` and below, in the order of their files.
///
/// # Errors
/// If the folder or a file with a Pod cannot be read, or if a Pod has no address.
pub fn read_pods(folder: &Path) -> anyhow::Result<Vec<Pod>> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    entries.sort();
    let mut pods = Vec::new();
    for path in entries {
        if path.is_dir() {
            pods.extend(read_pods(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            pods.extend(pods_of(&text).with_context(|| format!("the Pods in {}", path.display()))?);
        }
    }
    Ok(pods)
}

fn pods_of(text: &str) -> anyhow::Result<Vec<Pod>> {
    // A file without Pods may be broken, as the demo itself invites to: that is istiod's to report.
    if !text.lines().any(|line| line.trim_end() == "kind: Pod") {
        return Ok(Vec::new());
    }
    let objects: Vec<Value> = serde_saphyr::from_multiple(text)?;
    objects
        .into_iter()
        .filter(|object| object.get("kind").and_then(Value::as_str) == Some("Pod"))
        .map(|object| pod(serde_json::from_value(object)?))
        .collect()
}

fn pod(object: Object) -> anyhow::Result<Pod> {
    let Object { kind, metadata, spec, status } = object;
    let name = metadata.name;
    let Some(address) = status.get("podIP").and_then(Value::as_str) else { bail!("{kind} {name} has no status.podIP") };
    let arguments = spec.pointer("/containers/0/args").map(|args| serde_json::from_value(args.clone())).transpose()?;
    let proxy = if metadata.annotations.get("inject.istio.io/templates").is_some_and(|template| template == "gateway") {
        Proxy::Router
    } else if metadata.labels.get("sidecar.istio.io/inject").is_some_and(|inject| inject == "false") {
        Proxy::None
    } else {
        Proxy::Sidecar
    };
    Ok(Pod {
        address: address.parse().with_context(|| format!("status.podIP of {name}"))?,
        service_account: spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or("default").to_owned(),
        namespace: if metadata.namespace.is_empty() { "default".to_owned() } else { metadata.namespace },
        labels: metadata.labels,
        arguments,
        proxy,
        name,
    })
}
