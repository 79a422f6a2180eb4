//! The status of Ingresses in a real API server: where the gateway is reached, wherever that is said.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed unwrap is a failed test

mod istiod;

use istiod::Istiod;
use std::time::{Duration, Instant};
use testkit::kube::ApiServer;

const OBJECTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {type: LoadBalancer, externalIPs: [198.51.100.7], ports: [{name: http, port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ours, namespace: shop, annotations: {kubernetes.io/ingress.class: istio}}
spec: {defaultBackend: {service: {name: shop, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: foreign, namespace: shop, annotations: {kubernetes.io/ingress.class: other}}
spec: {defaultBackend: {service: {name: shop, port: {number: 80}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: gateway-0, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {nodeName: node-1, containers: [{name: istio-proxy, image: proxy}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
"#;

/// A change of the status of an object.
fn tell(server: &ApiServer, object: &[&str], status: &str) {
    let patch = format!(r#"{{"status": {status}}}"#);
    server.kubectl(&[&["patch", "--subresource=status", "--type=merge", "--patch", &patch], object].concat()).unwrap();
}

fn says(server: &ApiServer, name: &str) -> String {
    server.kubectl(&["get", "ingress", name, "-n", "shop", "-o", "jsonpath={.status.loadBalancer.ingress}"]).unwrap()
}

fn until_it_says(server: &ApiServer, name: &str, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = says(server, name);
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{name} says {found} and not {wanted}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn ingresses_say_where_the_gateway_is() {
    // The Pod names a service account that nobody has made.
    let Some(server) = ApiServer::start_with(&["--disable-admission-plugins=ServiceAccount"]).unwrap() else { return };
    for namespace in ["istio-system", "shop"] {
        server.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    server.kubectl_with(OBJECTS, &["apply", "-f", "-"]).unwrap();
    let service = ["service/istio-ingressgateway", "--namespace=istio-system"];
    tell(&server, &service, r#"{"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "entrance.example.com"}]}}"#);
    let _istiod = Istiod::start_in_cluster(&server.kubeconfig(), &[]);
    let first = r#"[{"hostname":"entrance.example.com"},{"ip":"192.0.2.1"},{"ip":"198.51.100.7"}]"#;
    until_it_says(&server, "ours", first);

    // Nothing is written that changes nothing, and what comes later is told the same.
    let version = || server.kubectl(&["get", "ingress", "ours", "-n", "shop", "-o", "jsonpath={.metadata.resourceVersion}"]).unwrap();
    let before = version();
    server.kubectl(&["label", "service/istio-ingressgateway", "--namespace=istio-system", "note=new"]).unwrap();
    let later = OBJECTS.split("---").find(|object| object.contains("name: ours")).unwrap().replace("name: ours", "name: later");
    server.kubectl_with(&later, &["apply", "-f", "-"]).unwrap();
    until_it_says(&server, "later", first);
    assert_eq!(version(), before);

    // The load balancer moves, and goes.
    tell(&server, &service, r#"{"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}"#);
    until_it_says(&server, "ours", r#"[{"ip":"192.0.2.2"},{"ip":"198.51.100.7"}]"#);
    server.kubectl(&["patch", "service/istio-ingressgateway", "-n", "istio-system", "-p", r#"{"spec": {"externalIPs": null}}"#]).unwrap();
    tell(&server, &service, r#"{"loadBalancer": null}"#);
    until_it_says(&server, "ours", "");

    // Without a Service that is named, the nodes of the gateway's Pods count.
    tell(&server, &["pod/gateway-0", "--namespace=istio-system"], r#"{"phase": "Running"}"#);
    let addresses = r#"[{"type": "InternalIP", "address": "10.0.0.9"}, {"type": "ExternalIP", "address": "203.0.113.9"}]"#;
    tell(&server, &["node/node-1"], &format!(r#"{{"addresses": {addresses}}}"#));
    server.kubectl(&["create", "configmap", "istio", "--namespace=istio-system", r#"--from-literal=mesh=ingressService: """#]).unwrap();
    until_it_says(&server, "ours", r#"[{"ip":"203.0.113.9"}]"#);
    assert_eq!(says(&server, "foreign"), "");
}
