//! What a proxy has refused is not given to those who come after it.

// Helpers of tests may panic like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use base::{ClusterId, DomainSuffix};
use config::file::{Contents, FileSet};
use std::{collections::BTreeMap, sync::Arc};
use xds::{Input, ProxyId, State, parse_node};
use xds_api::envoy::config::core::v3::Node;
use xds_wire::{ResourceName, ResourceType, Version, View};

struct Mesh {
    files: FileSet,
    state: State,
    views: BTreeMap<ProxyId, Arc<View>>,
}

const CLUSTER: &str = "outbound|80||web.shop.svc.cluster.local";

impl Mesh {
    fn new() -> Self {
        let files = FileSet::new(ClusterId::new("Kubernetes"));
        Self { files, state: State::new(DomainSuffix::new("cluster.local")), views: BTreeMap::new() }
    }

    fn turn(&mut self, batch: Vec<Input>) {
        self.views.extend(self.state.turn(batch).views);
    }

    /// A mesh of one service whose cluster depends on `seconds`.
    fn write(&mut self, seconds: u32) {
        let text = format!(
            "apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  clusterIP: 10.0.0.1
  ports: [{{name: http, port: 80}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web, namespace: shop}}
spec:
  host: web
  trafficPolicy: {{connectionPool: {{tcp: {{connectTimeout: {seconds}s}}}}}}
"
        );
        self.apply(text);
    }

    fn apply(&mut self, text: String) {
        let events = self.files.apply([("mesh.yaml".into(), Contents::Bytes(text.into()))]);
        self.turn(events.into_iter().map(Input::Event).collect());
    }

    fn connect(&mut self, id: ProxyId) {
        let node = Node { id: format!("sidecar~10.0.0.9~pod-{id}.shop~shop.svc.cluster.local"), ..Node::default() };
        self.turn(vec![Input::Connected(id, Box::new(parse_node(&node).unwrap()))]);
    }

    fn newest(&self, id: ProxyId) -> Version {
        self.views[&id].of(ResourceType::Cluster).get(CLUSTER).unwrap().version
    }

    /// What a proxy gets that has nothing.
    fn served(&self, id: ProxyId) -> Version {
        self.views[&id].cautious(ResourceType::Cluster).get(CLUSTER).unwrap().version
    }

    fn refuse(&mut self, id: ProxyId, version: Version) {
        let proxy = Arc::from(format!("sidecar~10.0.0.9~pod-{id}.shop~shop.svc.cluster.local"));
        self.turn(vec![Input::Refused(proxy, ResourceType::Cluster, vec![(ResourceName::from(CLUSTER), version)])]);
    }
}

#[test]
fn a_fresh_proxy_gets_what_was_accepted_last_until_the_resource_changes() {
    let mut mesh = Mesh::new();
    mesh.write(1);
    mesh.connect(1);
    let good = mesh.newest(1);
    mesh.write(2);
    let bad = mesh.newest(1);
    mesh.refuse(1, bad);
    // The pod is replaced: for a moment the class has no proxy.
    mesh.turn(vec![Input::Disconnected(1)]);
    mesh.connect(2);
    assert_eq!((mesh.newest(2), mesh.served(2)), (bad, good));
    // Another content that is refused as well: still the good one.
    mesh.write(3);
    let worse = mesh.newest(2);
    assert_eq!(mesh.served(2), worse);
    mesh.refuse(2, worse);
    assert_eq!(mesh.served(2), good);
    mesh.write(4);
    assert_eq!(mesh.served(2), mesh.newest(2));
}

#[test]
fn what_another_proxy_has_accepted_is_not_held_back() {
    let mut mesh = Mesh::new();
    mesh.write(1);
    mesh.connect(1);
    mesh.connect(2);
    mesh.write(2);
    let disputed = mesh.newest(1);
    mesh.refuse(1, disputed);
    assert_ne!(mesh.served(2), disputed);
    mesh.turn(vec![Input::Accepted(ResourceType::Cluster, disputed)]);
    assert_eq!(mesh.served(2), disputed);
    mesh.refuse(1, disputed);
    assert_eq!(mesh.served(2), disputed);
}

#[test]
fn a_refusal_of_what_has_no_predecessor_or_is_not_the_newest_changes_nothing() {
    let mut mesh = Mesh::new();
    mesh.write(1);
    mesh.connect(1);
    let first = mesh.newest(1);
    mesh.refuse(1, first);
    assert_eq!(mesh.served(1), first);
    mesh.write(2);
    mesh.refuse(1, first);
    assert_eq!(mesh.served(1), mesh.newest(1));
}

#[test]
fn a_listener_names_the_policies_that_shape_it() {
    let mut mesh = Mesh::new();
    let policy = |kind: &str, name: &str, namespace: &str, spec: &str| {
        format!("apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n")
    };
    mesh.apply(
        [
            policy("AuthorizationPolicy", "open", "istio-system", "{rules: [{}]}"),
            policy("AuthorizationPolicy", "elsewhere", "other", "{rules: [{}]}"),
            policy("RequestAuthentication", "tokens", "shop", "{jwtRules: [{issuer: me, jwks: '{\"keys\": []}'}]}"),
            policy("PeerAuthentication", "strict", "shop", "{mtls: {mode: STRICT}}"),
        ]
        .concat(),
    );
    mesh.connect(1);
    let listener = mesh.views[&1].of(ResourceType::Listener).get("virtualInbound").unwrap().clone();
    let origins: Vec<String> = listener.origins().map(ToString::to_string).collect();
    assert_eq!(origins, ["PeerAuthentication shop/strict", "RequestAuthentication shop/tokens", "AuthorizationPolicy istio-system/open"]);
}
