//! What is built, and for whom, counted rather than timed: a turn must not do more than its change needs.

// Helpers of tests may panic like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use base::{ClusterId, DomainSuffix};
use config::file::{Contents, FileSet};
use std::{collections::BTreeMap, sync::Arc};
use xds::{Input, ProxyId, State, Statistics, parse_node};
use xds_api::envoy::config::core::v3::Node;
use xds_api::google::protobuf::{Struct, Value, value::Kind};
use xds_wire::{Change, ResourceType, View};

/// The pipeline behind one file, with the newest view of every proxy.
struct Mesh {
    files: FileSet,
    state: State,
    views: BTreeMap<ProxyId, Arc<View>>,
}

impl Mesh {
    fn new(text: &str) -> Self {
        let files = FileSet::new(ClusterId::new("Kubernetes"));
        let mut mesh = Self { files, state: State::new(DomainSuffix::new("cluster.local")), views: BTreeMap::new() };
        mesh.write(text);
        mesh
    }

    fn turn(&mut self, batch: Vec<Input>) -> Statistics {
        let before = self.state.statistics();
        self.views.extend(self.state.turn(batch).views);
        let after = self.state.statistics();
        Statistics {
            turns: after.turns - before.turns,
            endpoint_turns: after.endpoint_turns - before.endpoint_turns,
            classes_generated: after.classes_generated - before.classes_generated,
            cluster_rows: after.cluster_rows - before.cluster_rows,
            endpoint_rows: after.endpoint_rows - before.endpoint_rows,
            virtual_host_rows: after.virtual_host_rows - before.virtual_host_rows,
            route_rows: after.route_rows - before.route_rows,
            listener_rows: after.listener_rows - before.listener_rows,
        }
    }

    /// One turn with what the file source says when the file has this text.
    fn write(&mut self, text: &str) -> Statistics {
        let events = self.files.apply([("mesh.yaml".into(), Contents::Bytes(text.into()))]);
        self.turn(events.into_iter().map(Input::Event).collect())
    }

    fn connect(&mut self, proxies: impl IntoIterator<Item = (ProxyId, Node)>) -> Statistics {
        self.turn(proxies.into_iter().map(|(id, node)| Input::Connected(id, Box::new(parse_node(&node).unwrap()))).collect())
    }

    /// What each proxy gets that it had not in `before`: types and names.
    fn news(&self, before: &BTreeMap<ProxyId, Arc<View>>) -> Vec<Vec<String>> {
        let news = |(id, view): (&ProxyId, &Arc<View>)| {
            let of = |kind: ResourceType| before[id].of(kind).diff(view.of(kind)).into_iter().map(move |change| (kind, change));
            let text = |(kind, change): (ResourceType, Change)| {
                assert!(matches!(change, Change::Set(_)), "{kind} {} is gone", change.name());
                format!("{kind} {}", change.name())
            };
            ResourceType::ALL.into_iter().flat_map(of).map(text).collect()
        };
        self.views.iter().map(news).collect()
    }
}

/// A sidecar of a workload `web` in the namespace, as Istio's agent describes it.
fn sidecar(namespace: &str, pod: &str, address: &str) -> Node {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_string())) };
    let labels = [("app", "web"), ("pod-template-hash", "5d8f"), ("statefulset.kubernetes.io/pod-name", pod)];
    let labels = Struct { fields: labels.map(|(key, value)| (key.to_string(), text(value))).into() };
    let metadata = [
        ("NAMESPACE", text(namespace)),
        ("NAME", text(pod)),
        ("WORKLOAD_NAME", text("web")),
        ("CLUSTER_ID", text("Kubernetes")),
        ("INSTANCE_IPS", text(address)),
        ("ISTIO_VERSION", text("1.31.0")),
        ("LABELS", Value { kind: Some(Kind::StructValue(labels)) }),
    ];
    Node {
        id: format!("sidecar~{address}~{pod}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct { fields: metadata.map(|(key, value)| (key.to_string(), value)).into() }),
        ..Node::default()
    }
}

/// The slice of a Service with an HTTP port.
fn slice(name: &str, addresses: &[&str]) -> String {
    let endpoints: String =
        addresses.iter().map(|address| format!("- {{addresses: [{address}], conditions: {{ready: true}}}}\n")).collect();
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-s, namespace: shop, labels: \
         {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints:\n{endpoints}"
    )
}

/// A Service in `shop`.
fn service(name: &str, cluster_ip: &str, protocol: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  clusterIP: {cluster_ip}\n  \
         ports: [{{name: {protocol}, port: 80, targetPort: 8080}}]\n"
    )
}

/// Two services, the second with a rule and two subsets, seen from two namespaces.
fn two_services(address: &str, timeout: u32) -> String {
    let (cart, reviews) = (service("cart", "10.96.0.1", "http"), service("reviews", "10.96.0.2", "http"));
    let (cart_slice, reviews_slice) = (slice("cart", &["10.1.0.1", address]), slice("reviews", &["10.1.1.1"]));
    format!(
        "{cart}{cart_slice}{reviews}{reviews_slice}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews, namespace: shop}}
spec:
  hosts: [reviews]
  http:
  - timeout: {timeout}s
    route: [{{destination: {{host: reviews, subset: v1}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews, namespace: shop}}
spec:
  host: reviews
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
"
    )
}

/// Two namespaces, one workload in each, so that there are two classes that share nothing but rows.
fn two_namespaces() -> Mesh {
    let mut mesh = Mesh::new(&two_services("10.1.0.2", 10));
    mesh.connect([(1, sidecar("shop", "a", "10.2.0.1")), (2, sidecar("other", "b", "10.2.0.2"))]);
    assert_eq!(mesh.state.classes().len(), 2);
    mesh
}

#[test]
fn an_endpoint_reaches_its_own_assignment_and_nothing_else() {
    let mut mesh = two_namespaces();
    let before = mesh.views.clone();
    let work = mesh.write(&two_services("10.1.0.3", 10));
    // The row is the same for both namespaces, so that it is built once.
    assert_eq!(work, Statistics { turns: 1, endpoint_turns: 1, endpoint_rows: 1, ..Statistics::default() });
    let assignment = vec!["eds outbound|80||cart.shop.svc.cluster.local".to_string()];
    assert_eq!(mesh.news(&before), [assignment.clone(), assignment]);
}

#[test]
fn a_rule_of_routes_builds_no_cluster_and_no_endpoint() {
    let mut mesh = two_namespaces();
    let before = mesh.views.clone();
    let work = mesh.write(&two_services("10.1.0.2", 11));
    assert_eq!((work.cluster_rows, work.endpoint_rows), (0, 0));
    assert_eq!(work.route_rows, 2, "one route configuration for each of two namespaces");
    assert_eq!(mesh.news(&before), [["rds 80"], ["rds 80"]]);
}

/// As many services, each with a rule of routes and one of clusters, seen from two namespaces that have none of them.
fn many_services(timeout: u32, balancer: &str) -> String {
    let one = |i: usize| {
        let (seconds, simple) = if i == 7 { (timeout, balancer) } else { (10, "RANDOM") };
        let name = format!("svc-{i}");
        let (service, slice) = (service(&name, &format!("10.96.0.{}", i + 1), "http"), slice(&name, &[&format!("10.1.{i}.1")]));
        format!(
            "{service}{slice}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop}}
spec:
  hosts: [{name}]
  http:
  - timeout: {seconds}s
    route: [{{destination: {{host: {name}}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: shop}}
spec:
  host: {name}
  trafficPolicy: {{loadBalancer: {{simple: {simple}}}}}
"
        )
    };
    (0..20).map(one).collect::<String>()
        + &service("db", "10.96.1.1", "tcp")
        + &slice("db", &["10.1.99.1"]).replace("name: http", "name: tcp")
}

fn many() -> Mesh {
    let mut mesh = Mesh::new(&many_services(10, "RANDOM"));
    mesh.connect([(1, sidecar("here", "a", "10.2.0.1")), (2, sidecar("there", "b", "10.2.0.2"))]);
    assert_eq!(mesh.state.classes().len(), 2);
    mesh
}

#[test]
fn a_rule_of_one_host_builds_one_virtual_host() {
    let mut mesh = many();
    let before = mesh.views.clone();
    let work = mesh.write(&many_services(11, "RANDOM"));
    assert_eq!((work.virtual_host_rows, work.cluster_rows, work.endpoint_rows, work.listener_rows), (1, 0, 0, 0));
    // Both namespaces have the same route configuration.
    assert_eq!(work.route_rows, 1);
    assert_eq!(mesh.news(&before), [["rds 80"], ["rds 80"]]);
}

#[test]
fn a_rule_of_clusters_builds_the_clusters_of_its_host() {
    let mut mesh = many();
    let before = mesh.views.clone();
    let work = mesh.write(&many_services(10, "ROUND_ROBIN"));
    assert_eq!((work.virtual_host_rows, work.cluster_rows, work.route_rows, work.listener_rows), (0, 1, 0, 0));
    let cluster = "cds outbound|80||svc-7.shop.svc.cluster.local";
    assert_eq!(mesh.news(&before), [[cluster], [cluster]]);
}

#[test]
fn a_service_builds_its_own_rows_and_no_listener_that_others_have() {
    let mut mesh = many();
    let before = mesh.views.clone();
    let text = many_services(10, "RANDOM");
    let work = mesh.write(&(text.clone() + &service("more", "10.96.2.1", "http")));
    assert_eq!((work.virtual_host_rows, work.cluster_rows, work.endpoint_rows, work.listener_rows), (1, 1, 1, 0));
    let own = "outbound|80||more.shop.svc.cluster.local";
    let news = [format!("cds {own}"), format!("eds {own}"), "rds 80".to_string()];
    assert_eq!(mesh.news(&before), [news.clone(), news]);
    // One with an address of its own adds a listener, to each of two classes.
    let work = mesh.write(&(text + &service("more", "10.96.2.1", "tcp")));
    assert_eq!((work.virtual_host_rows, work.cluster_rows, work.endpoint_rows, work.listener_rows), (0, 1, 1, 2));
}

#[test]
fn a_namespace_in_which_nothing_lies_reaches_nobody() {
    let mut mesh = two_namespaces();
    let before = mesh.views.clone();
    let namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: empty}\n";
    let work = mesh.write(&(two_services("10.1.0.2", 10) + namespace));
    assert_eq!(work, Statistics { turns: 1, ..Statistics::default() });
    assert_eq!(mesh.news(&before), [Vec::<String>::new(), Vec::new()]);
}

#[test]
fn a_hundred_pods_of_a_deployment_are_one_class() {
    let addresses: Vec<String> = (1..=100).map(|pod| format!("10.1.0.{pod}")).collect();
    let listed: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut mesh = Mesh::new(&(service("web", "10.96.0.1", "http") + &slice("web", &listed)));
    let work = mesh.connect((0..).zip(&addresses).map(|(id, address)| (id, sidecar("shop", &format!("web-{id}"), address))));
    assert_eq!((mesh.views.len(), mesh.state.classes().len(), work.classes_generated), (100, 1, 1));
    let first = &mesh.views[&0];
    assert!(mesh.views.values().all(|view| Arc::ptr_eq(view, first)));
}

#[test]
fn pods_of_a_headless_service_share_all_but_their_own_listeners() {
    let addresses = ["10.3.0.1", "10.3.0.2", "10.3.0.3"];
    let web = service("web", "None", "tcp") + &slice("web", &addresses).replace("name: http", "name: tcp");
    let mut mesh = Mesh::new(&(web + &two_services("10.1.0.2", 10)));
    let work = mesh.connect((0..).zip(addresses).map(|(id, address)| (id, sidecar("shop", &format!("web-{id}"), address))));
    assert_eq!(mesh.state.classes().len(), 3);
    // Clusters of three services, of which the headless one has no assignment; routes of one port.
    assert_eq!((work.cluster_rows, work.endpoint_rows, work.route_rows), (3, 4, 1));
    for (id, view) in &mesh.views {
        let own = addresses[*id as usize];
        let mut listeners: Vec<String> = addresses.iter().filter(|other| **other != own).map(|other| format!("{other}_80")).collect();
        listeners.extend(["0.0.0.0_80", "virtualInbound", "virtualOutbound"].map(str::to_string));
        let found: Vec<String> = view.of(ResourceType::Listener).iter().map(|listener| listener.name.to_string()).collect();
        listeners.sort();
        assert_eq!(found, listeners);
        for kind in ResourceType::ALL {
            for resource in view.of(kind).iter() {
                let others = mesh.views.values().filter_map(|other| other.of(kind).get(&resource.name));
                assert!(others.into_iter().all(|other| Arc::ptr_eq(other, resource)), "{kind} {} is not shared", resource.name);
            }
        }
    }
}
