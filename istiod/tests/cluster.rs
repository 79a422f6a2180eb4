//! The CA over a real API server: its Secret, its ConfigMaps, and tokens that the cluster has issued.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod client;
mod istiod;

use client::{Client, node};
use istiod::Istiod;
use std::time::{Duration, Instant};
use testkit::kube::ApiServer;
use tonic::Code;

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// The roots in a namespace's ConfigMap, once they are there.
fn published(server: &ApiServer, namespace: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let map = server.kubectl(&["get", "configmap", "istio-ca-root-cert", "-n", namespace, "-o", r"jsonpath={.data.root-cert\.pem}"]);
        match map {
            Ok(roots) if !roots.is_empty() => return roots,
            other => assert!(Instant::now() < deadline, "{namespace} has no roots: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_the_cluster_are_taken_without_asking_it() {
    let Some(server) = ApiServer::start().unwrap() else { return };
    for namespace in ["istio-system", "shop"] {
        server.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    server.kubectl(&["create", "serviceaccount", "cart", "-n", "shop"]).unwrap();
    let token = |audience: &str| {
        let audience = format!("--audience={audience}");
        server.kubectl(&["create", "token", "cart", "-n", "shop", audience.as_str()]).unwrap().trim().to_owned()
    };
    let istiod = Istiod::start_in_cluster(&server.kubeconfig(), &[]);
    let roots = roots_of(&istiod, &server);
    let client = Client::new(&istiod.secured, &roots, None);
    let held = client.certificate(Some(&token("istio-ca"))).await.unwrap();
    let der = ca::pem::certificates(held.chain.first().unwrap()).unwrap().remove(0);
    let identity = ca::authenticate::ClientCertificate::read(&der).unwrap().identity;
    assert_eq!(identity.to_string(), "spiffe://cluster.local/ns/shop/sa/cart");
    let other = client.certificate(Some(&token("https://kubernetes.default.svc"))).await.map(drop);
    assert_eq!(other.unwrap_err().code(), Code::Unauthenticated);
    client.stream(node("cart-0", "shop", "cart"), Some(&token("istio-ca")), CLUSTERS).await.unwrap();
    let (_, metrics) = istiod.get("/metrics");
    assert!(metrics.contains(r#"istiod_tokens_accepted{by="keys"} 2"#) && !metrics.contains(r#"{by="review"}"#), "{metrics}");

    // A namespace that comes later, and the next process.
    server.kubectl(&["create", "namespace", "late"]).unwrap();
    assert_eq!(published(&server, "late"), published(&server, "shop"));
    let kind = server.kubectl(&["get", "secret", "istio-ca-secret", "-n", "istio-system", "-o", "jsonpath={.type}"]).unwrap();
    assert_eq!(kind, "istio.io/ca-root");
    drop(istiod);
    let next = Istiod::start_in_cluster(&server.kubeconfig(), &[]);
    Client::new(&next.secured, &roots_of(&next, &server), Some(&held)).certificate(None).await.unwrap();
}

fn roots_of(istiod: &Istiod, server: &ApiServer) -> std::path::PathBuf {
    let path = istiod.path("root-cert.pem");
    std::fs::write(&path, published(server, "shop")).unwrap();
    path
}
