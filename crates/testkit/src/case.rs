//! A case: one concern of the mesh, as a folder that reads like documentation.

use crate::{
    call::{CallFile, DirectionFile, GoesTo},
    load::Step,
    projection::Print,
};
use anyhow::{Context, Result};
use base::ClusterId;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

/// One folder.
#[derive(Clone)]
pub struct Case {
    /// Its path below `tests/cases`, `route/header-match`.
    pub name: String,
    /// Where it is.
    pub folder: PathBuf,
    /// `case.yaml`
    pub file: CaseFile,
    /// `calls.yaml`; empty if there is none.
    pub calls: Vec<CallFile>,
    /// `load.yaml`; empty if there is none.
    pub load: Vec<Step>,
    /// Objects beside those of `input.yaml`, as YAML; empty but for [`Case::without_redirection`].
    pub more: String,
}

/// `case.yaml`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// What the case shows, in one sentence.
    pub purpose: String,
    /// Whose configuration is looked at.
    pub proxy: Proxy,
    /// Other workloads, whose proxies run beside it, each with an address of its own (outside of 127.0.0.0/8).
    #[serde(default)]
    pub workloads: Vec<Proxy>,
    /// What of it is kept in `expected/`.
    #[serde(default)]
    pub print: Print,
    /// Names that the network's DNS server knows, for proxies that ask one.
    #[serde(default)]
    pub dns: BTreeMap<String, IpAddr>,
    /// Environment variables of istiod.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Why its real Envoys are left to `make soak`.
    #[serde(default)]
    pub soak: Option<String>,
    /// A part of the text of each diagnostic that the input must cause; no others may appear.
    #[serde(default)]
    pub findings: Vec<String>,
    /// A part of what a real Envoy has to refuse; everything else must be taken.
    #[serde(default)]
    pub refuses: Option<String>,
}

/// A proxy, in the words of its node metadata.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// `sidecar` or `router`.
    #[serde(rename = "type")]
    pub kind: ProxyKind,
    /// The name of its pod.
    #[serde(default = "default_name")]
    pub name: String,
    /// The namespace of its pod.
    pub namespace: String,
    /// The address of its pod.
    #[serde(default = "default_ip")]
    pub ip: IpAddr,
    /// The service account of its pod.
    #[serde(default = "default_service_account")]
    pub service_account: String,
    /// That of its certificate, for which it needs an agent (`ISTIO_VERSION` in its metadata).
    #[serde(default = "default_trust_domain")]
    pub trust_domain: String,
    /// The labels of its pod.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Any other metadata of the node.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Where it runs.
    #[serde(default)]
    pub locality: Option<Value>,
}

/// The first part of a node id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    /// Beside a workload.
    Sidecar,
    /// A gateway.
    Router,
}

fn default_name() -> String {
    "client".to_owned()
}

fn default_service_account() -> String {
    "default".to_owned()
}

fn default_trust_domain() -> String {
    "cluster.local".to_owned()
}

fn default_ip() -> IpAddr {
    Ipv4Addr::new(127, 0, 10, 1).into()
}

impl Proxy {
    /// The node as Envoy sends it, in proto JSON.
    pub fn node(&self) -> Value {
        let kind = match self.kind {
            ProxyKind::Sidecar => "sidecar",
            ProxyKind::Router => "router",
        };
        let Self { name, namespace, ip, .. } = self;
        let mut metadata = Map::from_iter([
            ("CLUSTER_ID".to_owned(), json!("Kubernetes")),
            ("INSTANCE_IPS".to_owned(), json!(ip.to_string())),
            ("LABELS".to_owned(), json!(self.labels)),
            ("NAME".to_owned(), json!(name)),
            ("NAMESPACE".to_owned(), json!(namespace)),
            ("SERVICE_ACCOUNT".to_owned(), json!(self.service_account)),
        ]);
        metadata.extend(self.metadata.clone());
        let mut node = json!({
            "id": format!("{kind}~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("{name}.{namespace}"),
            "metadata": metadata,
        });
        if let (Some(locality), Some(node)) = (&self.locality, node.as_object_mut()) {
            node.insert("locality".to_owned(), locality.clone());
        }
        node
    }

    /// Whether nothing redirects its traffic, so that clients address its listeners.
    pub fn is_addressed(&self) -> bool {
        self.kind == ProxyKind::Router || self.metadata.get("INTERCEPTION_MODE").is_some_and(|mode| mode == "NONE")
    }

    /// The name in its certificate.
    pub fn identity(&self) -> String {
        format!("spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }

    /// Whether it gets certificates from an agent.
    pub fn has_agent(&self) -> bool {
        self.metadata.contains_key("ISTIO_VERSION")
    }
}

impl Case {
    /// Reads one folder.
    ///
    /// # Errors
    /// If a file is missing or is not what it should be.
    pub fn read(root: &Path, folder: &Path) -> Result<Self> {
        let name = folder.strip_prefix(root)?.to_string_lossy().into_owned();
        let file = read_yaml(&folder.join("case.yaml"))?;
        let (calls, load) = (folder.join("calls.yaml"), folder.join("load.yaml"));
        let calls = if calls.exists() { read_yaml(&calls)? } else { Vec::new() };
        let load = if load.exists() { read_yaml(&load)? } else { Vec::new() };
        Ok(Self { name, folder: folder.to_owned(), file, calls, load, more: String::new() })
    }

    /// The objects of the case, as the user would apply them.
    ///
    /// # Errors
    /// If the file is missing.
    pub fn input(&self) -> Result<Vec<u8>> {
        let path = self.folder.join("input.yaml");
        let mut input = fs::read(&path).with_context(|| path.display().to_string())?;
        input.extend(self.more.bytes());
        Ok(input)
    }

    /// Who makes a call.
    ///
    /// # Errors
    /// If the case has no workload of the name.
    pub fn caller(&self, call: &CallFile) -> Result<&Proxy> {
        let Some(name) = &call.from else { return Ok(&self.file.proxy) };
        self.proxies().find(|proxy| proxy.name == *name).with_context(|| format!("no proxy of the case is named {name}"))
    }

    /// All proxies, that of the case first.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        std::iter::once(&self.file.proxy).chain(&self.file.workloads)
    }

    /// The objects of each remote cluster: the files `remote/<cluster>.yaml`.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn remote(&self) -> Result<BTreeMap<ClusterId, Vec<u8>>> {
        let folder = self.folder.join("remote");
        let mut clusters = BTreeMap::new();
        for entry in if folder.is_dir() { Some(fs::read_dir(&folder)?) } else { None }.into_iter().flatten() {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).with_context(|| path.display().to_string())?;
            clusters.insert(ClusterId::new(name), fs::read(&path)?);
        }
        Ok(clusters)
    }

    /// The case for a network where nothing is redirected: with a Sidecar that binds the ports of all calls, which the client
    /// then calls itself. `None` where that is not the same: for anything but HTTP from the workload, for what passes
    /// through the mesh to an address, for a workload that is an endpoint itself, and beside a Sidecar of the case's own.
    ///
    /// # Errors
    /// If the case cannot be read.
    pub fn without_redirection(&self) -> Result<Option<Self>> {
        let Proxy { namespace, ip, .. } = &self.file.proxy;
        let mut case = self.clone();
        let mut listeners = BTreeMap::new();
        for call in &mut case.calls {
            let target = call.target()?;
            let passes = matches!(&call.goes_to, Some(GoesTo::One(cluster)) if !cluster.starts_with("outbound|"));
            let http = matches!(target.scheme.as_str(), "http" | "h2") && target.port >= 1024;
            let to_address = call.at.is_some() || target.host.parse::<IpAddr>().is_ok();
            if passes || !http || to_address || call.direction.is_some() {
                return Ok(None);
            }
            call.direction = Some(DirectionFile::Direct);
            let port = target.port;
            listeners.insert(
                port,
                format!("\n  - port: {{number: {port}, protocol: HTTP, name: http-{port}}}\n    bind: {ip}\n    hosts: [\"*/*\"]"),
            );
        }
        let input = String::from_utf8(self.input()?)?;
        let serves_itself = input.contains(&ip.to_string());
        if input.contains("kind: Sidecar") || serves_itself || !self.file.dns.is_empty() {
            return Ok(None);
        }
        let listeners: String = listeners.into_values().collect();
        case.more = format!(
            "\n---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: without-redirection, namespace: {namespace}}}\nspec:\n  egress:{listeners}\n"
        );
        case.file.proxy.metadata.insert("INTERCEPTION_MODE".to_owned(), json!("NONE"));
        Ok(Some(case))
    }
}

/// The folder of all cases.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases")
}

/// All cases by name; with the environment variable `CASE`, those whose name contains it.
///
/// # Errors
/// If a case cannot be read.
pub fn all() -> Result<Vec<Case>> {
    let root = root();
    let mut folders = Vec::new();
    find(&root, &mut folders)?;
    folders.sort();
    let mut cases = folders.iter().map(|folder| Case::read(&root, folder)).collect::<Result<Vec<_>>>()?;
    if let Ok(wanted) = std::env::var("CASE") {
        cases.retain(|case| case.name.contains(&wanted));
    }
    anyhow::ensure!(!cases.is_empty(), "no case below {}", root.display());
    Ok(cases)
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if folder.join("case.yaml").exists() {
        found.push(folder.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, found)?;
        }
    }
    Ok(())
}

fn read_yaml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}
