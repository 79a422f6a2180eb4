//! A cluster that has Istio's own definitions: nothing of `spec` and `status` is described there, older ones do not serve `v1`,
//! and other controllers have written status before.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod istiod;

use istio_api::Kind;
use istiod::Istiod;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::kube::{ApiServer, permissive_definition};

/// Installs all of them; `keep` says which versions.
fn install(server: &ApiServer, keep: impl Fn(&[&'static str]) -> Vec<&'static str>) {
    let kinds = Kind::ALL.iter().filter(|kind| kind.schema().is_some());
    let definitions: Vec<Value> = kinds.map(|kind| permissive_definition(*kind, &keep(kind.versions()))).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": definitions });
    server.kubectl_with(&list.to_string(), &["apply", "--server-side", "--force-conflicts", "-f", "-"]).unwrap();
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).unwrap();
}

fn entry(version: &str, name: &str, port: u16) -> String {
    format!(
        "
apiVersion: networking.istio.io/{version}
kind: ServiceEntry
metadata: {{name: {name}, namespace: shop}}
spec: {{hosts: [{name}.example.com], location: MESH_EXTERNAL, resolution: DNS, ports: [{{number: {port}, name: http, protocol: HTTP}}]}}
"
    )
}

/// Waits until `field` of the object is as wanted.
fn wait_for(server: &ApiServer, name: &str, pointer: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let object: Value =
            serde_json::from_str(&server.kubectl(&["get", "serviceentry", name, "-n", "shop", "-o", "json"]).unwrap()).unwrap();
        if object.pointer(pointer).is_some_and(&wanted) {
            return object;
        }
        assert!(Instant::now() < deadline, "{pointer} of {name}: {object:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The status of a condition, once it is about the object as it is now.
fn condition(server: &ApiServer, name: &str, wanted: (&str, &str)) -> Value {
    wait_for(server, name, "/status", |status| {
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| (condition["type"].as_str(), condition["status"].as_str()) == (Some(wanted.0), Some(wanted.1)))
    })
}

fn serves(istiod: &Istiod, host: &str) {
    istiod.wait_for("/debug/registryz", |_, body| body.contains(host));
}

#[test]
fn definitions_of_istio_serve_as_well() {
    let Some(server) = ApiServer::start().unwrap() else { return };
    for namespace in ["istio-system", "shop"] {
        server.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    // As before Istio 1.22: no v1 where there is another one.
    install(&server, |versions| {
        let older: Vec<_> = versions.iter().copied().filter(|version| *version != "v1").collect();
        if older.is_empty() { versions.to_vec() } else { older }
    });
    server.kubectl_with(&entry("v1beta1", "books", 80), &["apply", "-f", "-"]).unwrap();
    // Such a definition lets anything be stored.
    server.kubectl_with(&entry("v1beta1", "broken", 80).replace("number: 80", "number: many"), &["apply", "-f", "-"]).unwrap();
    let foreign = json!({ "status": { "validationMessages": [{ "level": "INFO" }] } });
    let patch = foreign.to_string();
    server.kubectl(&["patch", "serviceentry", "books", "-n", "shop", "--subresource=status", "--type=merge", "-p", &patch]).unwrap();

    let istiod = Istiod::start_in_cluster(&server.kubeconfig(), &[]);
    serves(&istiod, "books.example.com");
    condition(&server, "books", ("Accepted", "True"));
    // What another one has written stays its own.
    wait_for(&server, "books", "/status/validationMessages/0/level", |level| *level == "INFO");
    condition(&server, "broken", ("Accepted", "False"));
    server.kubectl_with(&entry("v1alpha3", "later", 80), &["apply", "-f", "-"]).unwrap();
    serves(&istiod, "later.example.com");
    condition(&server, "later", ("Accepted", "True"));

    // Newer ones take their place: another version is read, and no object goes.
    install(&server, |versions| {
        let mut all = versions.to_vec();
        all.reverse();
        all
    });
    server.kubectl_with(&entry("v1", "newest", 80), &["apply", "-f", "-"]).unwrap();
    serves(&istiod, "newest.example.com");
    serves(&istiod, "books.example.com");
    condition(&server, "newest", ("Accepted", "True"));
    server.kubectl_with(&entry("v1", "broken", 8080), &["apply", "-f", "-"]).unwrap();
    condition(&server, "broken", ("Accepted", "True"));
    serves(&istiod, "broken.example.com");

    // Ours on top of them, as an upgrade does.
    let ours = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds").display().to_string();
    server.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &ours]).unwrap();
    server.kubectl_with(&entry("v1", "last", 80), &["apply", "-f", "-"]).unwrap();
    serves(&istiod, "last.example.com");
    condition(&server, "last", ("Accepted", "True"));
    let generation = wait_for(&server, "last", "/metadata/generation", Value::is_i64);
    wait_for(&server, "last", "/status/observedGeneration", |observed| *observed == generation["metadata"]["generation"]);
    server.kubectl(&["delete", "serviceentry", "books", "-n", "shop"]).unwrap();
    istiod.wait_for("/debug/registryz", |_, body| !body.contains("books.example.com") && body.contains("later.example.com"));
}
