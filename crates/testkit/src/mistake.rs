//! The corpus of mistakes: `tests/cases/mistakes`, a folder for each, and the mesh in which they are made.

use crate::mesh::cluster;
use analysis::{Foreign, Mesh, Needs};
use anyhow::{Context, Result, ensure};
use base::{Diagnostic, DomainSuffix, Level};
use config::{
    Change, Event,
    file::{Contents, FileSet},
};
use istio_api::AnyObject;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};
use xds::{Input, State};

/// How many good routes there are beside every mistake.
pub const ROUTES: u8 = 20;

/// The port of the good services.
pub const PORT: u16 = 8000;

/// One mistake.
pub struct Mistake {
    /// The name of its folder.
    pub name: String,
    /// `mistake.yaml`
    pub file: MistakeFile,
    /// What a source passes on of the objects, as if no webhook had refused them before.
    pub objects: Vec<AnyObject>,
    /// What it has to say of them.
    said: Vec<Diagnostic>,
}

/// `mistake.yaml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MistakeFile {
    /// What is wrong.
    pub purpose: String,
    /// What must be said: code and object, `IST0101 VirtualService shop/reviews`. Nothing for what no control plane can know.
    pub findings: Vec<String>,
    /// The objects that a refusal must name, where only the proxy can know: `Gateway edge/front`.
    #[serde(default)]
    pub refused: Vec<String>,
}

/// All mistakes, by name.
///
/// # Errors
/// If a folder is not what it should be.
pub fn all() -> Result<Vec<Mistake>> {
    let root = crate::case::root().join("mistakes");
    let folders = fs::read_dir(&root).with_context(|| root.display().to_string())?;
    let mut folders = folders.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders.iter().map(|folder| read(folder).with_context(|| folder.display().to_string())).collect()
}

fn read(folder: &Path) -> Result<Mistake> {
    let file: MistakeFile = serde_saphyr::from_str(&fs::read_to_string(folder.join("mistake.yaml"))?)?;
    ensure!(!file.purpose.is_empty(), "mistake.yaml has no purpose");
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (objects, said) = decoded(&fs::read_to_string(folder.join("objects.yaml"))?);
    ensure!(!objects.is_empty() || !said.is_empty(), "objects.yaml holds nothing");
    Ok(Mistake { name, file, objects, said })
}

/// What the file source makes of a text.
fn decoded(text: &str) -> (Vec<AnyObject>, Vec<Diagnostic>) {
    let (mut objects, mut said) = (Vec::new(), Vec::new());
    for event in FileSet::new(cluster()).apply([("objects.yaml".into(), Contents::Bytes(text.into()))]) {
        match event.change {
            Change::Set(object) => objects.push(object),
            Change::Findings { diagnostics, .. } => said.extend(diagnostics),
            _ => {}
        }
    }
    (objects, said)
}

/// The events that bring objects.
pub fn events(objects: &[AnyObject]) -> impl Iterator<Item = Input> {
    objects.iter().map(|object| Input::Event(Event { cluster: cluster(), change: Change::Set(object.clone()) }))
}

impl Mistake {
    /// Whether everything is said that must be.
    ///
    /// # Errors
    /// If something is missing; the text holds what is said instead.
    pub fn is_said(&self, good: &[AnyObject]) -> Result<()> {
        let mut found = said_of(good, &self.objects);
        found.extend(self.said.iter().cloned());
        let names: BTreeSet<String> =
            found.iter().filter_map(|finding| Some(format!("{} {}", finding.code, finding.object.as_ref()?))).collect();
        let missing: Vec<&String> = self.file.findings.iter().filter(|wanted| !names.contains(*wanted)).collect();
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        ensure!(missing.is_empty(), "{}: not said: {missing:?}; but {texts:#?}", self.name);
        Ok(())
    }
}

/// What is to be said of objects beside good ones.
pub fn said_of(good: &[AnyObject], more: &[AnyObject]) -> Vec<Diagnostic> {
    let mut state = State::new(DomainSuffix::new("cluster.local"));
    state.turn(events(good).chain(events(more)).collect());
    let mesh = Mesh { store: state.store(), foreign: &Foreign::default(), snapshot: Some(state.snapshot()) };
    let mut all = analysis::analyze(&mesh, Needs::Workloads, true);
    all.retain(|finding| finding.level != Level::Info || !more.is_empty());
    all
}

/// The address of the endpoint of a good route.
pub fn endpoint(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 1, 0, number + 1).into()
}

/// The virtual address of a good service.
pub fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 96, 1, number + 1).into()
}

/// The mesh without mistakes: a namespace with 20 services and a route for each, for sidecars and a gateway.
/// `certificate` and `key` are those of the gateway.
///
/// # Errors
/// If the texts here are not good.
pub fn good_mesh(certificate: &str, key: &str) -> Result<Vec<AnyObject>> {
    let mut text = MESH.to_owned();
    let block = |pem: &str| pem.lines().map(|line| format!("\n    {line}")).collect::<String>();
    text += &format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: edge-tls, namespace: edge}}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |{}\n  \
         tls.key: |{}\n",
        block(certificate),
        block(key)
    );
    for number in 0..ROUTES {
        text += &service(&format!("good-{number}"), address(number), endpoint(number), "http");
        text += &route(number, 0);
    }
    text += &service("shelf", Ipv4Addr::new(10, 96, 2, 1).into(), Ipv4Addr::new(127, 1, 1, 1).into(), "http");
    text += &service("vault", Ipv4Addr::new(10, 96, 2, 2).into(), Ipv4Addr::new(127, 1, 1, 2).into(), "tcp");
    let (objects, said) = decoded(&text);
    ensure!(said.is_empty(), "the good mesh is not good: {said:#?}");
    Ok(objects)
}

/// A good route, which says its round in a header of the response.
///
/// # Errors
/// If the text here is not good.
pub fn good_route(number: u8, round: usize) -> Result<Vec<AnyObject>> {
    let (objects, said) = decoded(&route(number, round));
    ensure!(said.is_empty() && !objects.is_empty(), "the good route is not good: {said:#?}");
    Ok(objects)
}

fn route(number: u8, round: usize) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: good-{number}, namespace: shop, creationTimestamp: \
         \"2020-01-01T00:00:00Z\"}}\nspec:\n  hosts: [good-{number}, good-{number}.example.com]\n  gateways: [mesh, edge/front, edge/secure]\n  http:\n  \
         - headers: {{response: {{set: {{x-round: \"{round}\"}}}}}}\n    route: [{{destination: {{host: good-{number}}}}}]\n"
    )
}

fn service(name: &str, address: IpAddr, endpoint: IpAddr, protocol: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop, creationTimestamp: \"2020-01-01T00:00:00Z\"}}\nspec:\n  \
         clusterIP: {address}\n  selector: {{app: {name}}}\n  ports: [{{name: {protocol}, port: {PORT}, targetPort: 9000}}]\n---\napiVersion: \
         discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-1, namespace: shop, labels: {{kubernetes.io/service-name: \
         {name}}}}}\naddressType: IPv4\nports: [{{name: {protocol}, port: 9000}}]\nendpoints: [{{addresses: [{endpoint}], conditions: {{ready: \
         true}}}}]\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\nspec: {{containers: \
         [{{name: istio-proxy, image: proxy}}]}}\nstatus: {{phase: Running, podIP: {endpoint}}}\n"
    )
}

/// What the routes need.
const MESH: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: edge, labels: {istio-injection: disabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: cellar, labels: {istio-injection: disabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: attic, labels: {istio-injection: disabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {containers: [{name: istio-proxy, image: proxy}]}
status: {phase: Running, podIP: 127.0.10.1}
---
apiVersion: v1
kind: Pod
metadata: {name: front, namespace: edge, labels: {istio: front}}
spec: {containers: [{name: istio-proxy, image: proxy}]}
status: {phase: Running, podIP: 127.0.20.1}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: edge}
spec:
  clusterIP: 10.96.3.1
  selector: {istio: front}
  ports: [{name: http, port: 8080, protocol: TCP}, {name: https, port: 8443, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: edge, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  selector: {istio: front}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: ["*.example.com"]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure, namespace: edge, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  selector: {istio: front}
  servers:
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: ["*.example.com", good-1.example.com]
    tls: {mode: SIMPLE, credentialName: edge-tls}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: good-6, namespace: shop, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  host: good-6
  trafficPolicy: {loadBalancer: {simple: RANDOM}}
"#;
