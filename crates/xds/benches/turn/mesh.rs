//! The mesh that is measured, the same as that of `ads-load`: each service has ten endpoints, a VirtualService and a
//! DestinationRule with a subset; ten namespaces share them.

use base::{ClusterId, DomainSuffix};
use config::{
    Event,
    file::{Contents, FileSet},
};
use std::{fmt::Write as _, net::IpAddr, sync::Arc};
use xds::{Input, State};
use xds_api::envoy::config::core::v3::Node;
use xds_api::google::protobuf::{Struct, Value, value::Kind};

const NAMESPACES: usize = 10;
const ENDPOINTS: usize = 10;

/// What may change about a service.
#[derive(Clone, Copy, Default)]
pub struct Variant {
    /// Decides the address of the last endpoint.
    pub endpoint: usize,
    /// Decides the timeout of the VirtualService.
    pub route: usize,
}

/// One file per service.
pub fn files(services: usize) -> Vec<(Arc<str>, Contents)> {
    (0..services).map(|i| file(i, Variant::default())).collect()
}

/// What the file source says of these files.
pub fn events(files: Vec<(Arc<str>, Contents)>) -> Vec<Event> {
    FileSet::new(ClusterId::new("Kubernetes")).apply(files)
}

/// What the file source says when the file of service `i` turns from one variant into the other.
pub fn change(i: usize, from: Variant, to: Variant) -> Vec<Event> {
    let mut set = FileSet::new(ClusterId::new("Kubernetes"));
    set.apply([file(i, from)]);
    set.apply([file(i, to)])
}

/// What the file source says when a file appears, and when it goes.
pub fn appearance((name, contents): (Arc<str>, Contents)) -> (Vec<Event>, Vec<Event>) {
    let mut set = FileSet::new(ClusterId::new("Kubernetes"));
    (set.apply([(name.clone(), contents)]), set.apply([(name, Contents::Removed)]))
}

/// The file of a namespace that nothing lies in.
pub fn namespace_file() -> (Arc<str>, Contents) {
    ("new.yaml".into(), Contents::Bytes(b"apiVersion: v1\nkind: Namespace\nmetadata: {name: new}\n".to_vec()))
}

/// A state that has these objects and no proxies.
pub fn state(events: &[Event]) -> State {
    let mut state = State::new(DomainSuffix::new("cluster.local"));
    state.turn(inputs(events));
    state
}

/// A batch of these events.
pub fn inputs(events: &[Event]) -> Vec<Input> {
    events.iter().cloned().map(Input::Event).collect()
}

/// The connections of one sidecar of each class. Proxy `i` runs beside the first endpoint of service `i`.
pub fn connections(classes: usize) -> Vec<Input> {
    (0..classes).filter_map(sidecar).collect()
}

fn namespace(i: usize) -> String {
    format!("load-{}", i % NAMESPACES)
}

/// As Istio's agent describes it.
fn sidecar(i: usize) -> Option<Input> {
    let text = |text: String| Value { kind: Some(Kind::StringValue(text)) };
    let (namespace, address, name) = (namespace(i), endpoint(i, 0), format!("svc-{i}"));
    let labels = [("app", name.clone()), ("pod-template-hash", format!("{i:x}"))];
    let labels = Struct { fields: labels.map(|(key, value)| (key.to_string(), text(value))).into() };
    let metadata = [
        ("NAMESPACE", text(namespace.clone())),
        ("WORKLOAD_NAME", text(name)),
        ("CLUSTER_ID", text("Kubernetes".to_string())),
        ("INSTANCE_IPS", text(address.to_string())),
        ("ISTIO_VERSION", text("1.31.0".to_string())),
        ("LABELS", Value { kind: Some(Kind::StructValue(labels)) }),
    ];
    let node = Node {
        id: format!("sidecar~{address}~pod-{i}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct { fields: metadata.map(|(key, value)| (key.to_string(), value)).into() }),
        ..Node::default()
    };
    Some(Input::Connected(i as u64, Box::new(xds::parse_node(&node).ok()?)))
}

fn endpoint(i: usize, k: usize) -> IpAddr {
    IpAddr::from([10, 16 + (i / 200) as u8, (i % 200) as u8, 1 + k as u8])
}

/// The file of service `i`.
pub fn file(i: usize, variant: Variant) -> (Arc<str>, Contents) {
    let namespace = namespace(i);
    let host = format!("svc-{i}.{namespace}.svc.cluster.local");
    let mut endpoints = String::new();
    for k in 0..ENDPOINTS {
        let moved = if k + 1 == ENDPOINTS { variant.endpoint } else { 0 };
        let address = endpoint(i, k + moved);
        // Writing to a text cannot fail.
        let _ = writeln!(endpoints, "- addresses: [{address}]\n  conditions: {{ready: true}}");
    }
    let timeout = 10 + variant.route;
    let (a, b, c) = (96 + i / 62_500, i / 250 % 250, i % 250 + 1);
    let text = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: svc-{i}, namespace: {namespace}}}
spec:
  clusterIP: 10.{a}.{b}.{c}
  ports: [{{name: http, port: 80, targetPort: 8080, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: svc-{i}-s, namespace: {namespace}, labels: {{kubernetes.io/service-name: svc-{i}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints:
{endpoints}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: svc-{i}, namespace: {namespace}}}
spec:
  hosts: [{host}]
  http:
  - timeout: {timeout}s
    route:
    - destination: {{host: {host}}}
      weight: 90
    - destination: {{host: {host}, subset: v1}}
      weight: 10
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: svc-{i}, namespace: {namespace}}}
spec:
  host: {host}
  subsets:
  - name: v1
    labels: {{version: v1}}
"
    );
    (format!("svc-{i}.yaml").into(), Contents::Bytes(text.into_bytes()))
}
