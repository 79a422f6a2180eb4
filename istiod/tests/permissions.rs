//! With exactly the chart's permissions everything works, nothing is refused, and nothing is granted that is not used.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failed unwrap is a failed test

mod client;
mod istiod;

use client::Client;
use istiod::Istiod;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use testkit::kube::ApiServer;

const ACCOUNT: &str = "system:serviceaccount:istio-system:istiod";
const VALIDATOR: &str = "istio-validator-istio-system";

/// What a run of a minute makes no use of, and why it is granted all the same: (group, resource, name, verb).
const RARE: [(&str, &str, &str, &str); 8] = [
    // Server-side apply of what does not exist asks for it; the request itself is a patch.
    ("", "configmaps", "", "create"),
    // Revocation lists, of who has one.
    ("", "configmaps", "istio-ca-crl", "patch"),
    ("", "configmaps", "istio-ca-crl", "list"),
    // Keys of issuers, of who has told an address of them: `identity_in_cluster`.
    ("", "configmaps", "istio-issuer-keys", "update"),
    // Whether a gateway may have Secrets, of who is connected as one: `identity_in_cluster`.
    ("authorization.k8s.io", "subjectaccessreviews", "", "create"),
    // Refused objects of these groups are told like those of `networking.istio.io`.
    ("security.istio.io", "*", "", "get"),
    ("telemetry.istio.io", "*", "", "get"),
    ("extensions.istio.io", "*", "", "get"),
];

/// A kind of the Gateway API, which a cluster may have or not.
const REFERENCE_GRANTS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: referencegrants.gateway.networking.k8s.io, annotations: {api-approved.kubernetes.io: "unapproved, for a test"}}
spec:
  group: gateway.networking.k8s.io
  scope: Namespaced
  names: {kind: ReferenceGrant, plural: referencegrants, singular: referencegrant, listKind: ReferenceGrantList}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"#;

/// What was asked of the API server: the request's part of an audit event.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug, Clone)]
struct Asked {
    verb: String,
    group: String,
    /// With the subresource behind it; the path for what is no resource.
    resource: String,
    namespace: String,
    name: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A part of the chart as Helm renders it; `None`, with a word, where there is no Helm.
fn rendered(templates: &[&str]) -> Option<String> {
    let cache = std::env::var_os("KUBE_CACHE").map_or_else(|| root().join(".cache/kube"), PathBuf::from);
    let helm = cache.join("bin/helm");
    if !helm.exists() {
        eprintln!("kube: skipped permissions: no Helm in .cache/kube; `make cluster` builds it");
        return None;
    }
    let mut command = Command::new(helm);
    command.args(["template", "istiod", "charts/istiod", "--namespace=istio-system"]).current_dir(root());
    command.args(templates.iter().flat_map(|template| ["--show-only".to_owned(), format!("templates/{template}.yaml")]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A kubeconfig of istiod's service account.
fn kubeconfig(server: &ApiServer, folder: &Path) -> PathBuf {
    let token = server.kubectl(&["create", "token", "istiod", "--namespace=istio-system", "--duration=1h"]).unwrap();
    let mut config: Value = serde_json::from_str(&server.kubectl(&["config", "view", "--raw", "--output=json"]).unwrap()).unwrap();
    config["users"][0]["user"] = json!({ "token": token.trim() });
    let path = folder.join("istiod.conf");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One object of each of Istio's kinds, and what they name.
fn objects() -> String {
    let object = |version: &str, kind: &str, spec: Value| json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "one", "namespace": "shop" }, "spec": spec });
    let server = json!({
        "port": { "number": 443, "name": "https", "protocol": "HTTPS" }, "hosts": ["*"],
        "tls": { "mode": "SIMPLE", "credentialName": "cert" },
    });
    let route = json!([{ "route": [{ "destination": { "host": "one.example.com" } }] }]);
    let ports = json!([{ "number": 80, "name": "http", "protocol": "HTTP" }]);
    let networking = "networking.istio.io/v1";
    let all = [
        object(networking, "DestinationRule", json!({ "host": "one.example.com" })),
        object("networking.istio.io/v1alpha3", "EnvoyFilter", json!({})),
        object(networking, "Gateway", json!({ "selector": { "istio": "ingressgateway" }, "servers": [server] })),
        object("networking.istio.io/v1beta1", "ProxyConfig", json!({ "concurrency": 1 })),
        object(networking, "ServiceEntry", json!({ "hosts": ["one.example.com"], "resolution": "DNS", "ports": ports })),
        object(networking, "Sidecar", json!({ "egress": [{ "hosts": ["*/*"] }] })),
        object(networking, "VirtualService", json!({ "hosts": ["one.example.com"], "http": route })),
        object(networking, "WorkloadEntry", json!({ "address": "10.1.2.3" })),
        object(networking, "WorkloadGroup", json!({ "template": { "serviceAccount": "one" } })),
        object("security.istio.io/v1", "AuthorizationPolicy", json!({ "rules": [{}] })),
        object("security.istio.io/v1", "PeerAuthentication", json!({})),
        object("security.istio.io/v1", "RequestAuthentication", json!({})),
        object("telemetry.istio.io/v1", "Telemetry", json!({})),
        object("extensions.istio.io/v1alpha1", "TrafficExtension", json!({ "wasm": { "url": "https://example.com/a.wasm" } })),
        object("extensions.istio.io/v1alpha1", "WasmPlugin", json!({ "url": "https://example.com/a.wasm" })),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cert", "namespace": "shop" },
            "stringData": { "tls.key": "a", "tls.crt": "b" },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "istio-ingressgateway", "namespace": "istio-system" },
            "spec": { "externalIPs": ["192.0.2.7"], "ports": [{ "name": "http", "port": 80 }] },
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": { "name": "one", "namespace": "shop", "annotations": { "kubernetes.io/ingress.class": "istio" } },
            "spec": { "defaultBackend": { "service": { "name": "one", "port": { "number": 80 } } } },
        }),
    ];
    all.map(|object| object.to_string()).join("\n---\n")
}

/// Everything that istiod does to a cluster, once.
async fn use_all(server: &ApiServer, istiod: &Istiod, foreign: &Istiod) {
    let of = |what: &[&str], path: &str| server.kubectl(&[&["get"], what, &["-o", &format!("jsonpath={{{path}}}")]].concat()).unwrap();
    // A refused object, mended, and refused for the same reason: an Event that is counted up.
    let route = |weight: i32| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: bad, namespace: shop}}, spec: {{hosts: [a.b], http: [{{route: [{{destination: {{host: a.b}}, weight: {weight}}}]}}]}}}}"
        )
    };
    for (weight, wanted) in [(-1, "False"), (1, "True"), (-1, "False")] {
        server.kubectl_with(&route(weight), &["apply", "-f", "-"]).unwrap();
        let accepted = r#".status.conditions[?(@.type=="Accepted")].status"#;
        until("the refusal is told", || of(&["virtualservice", "bad", "-n", "shop"], accepted) == wanted);
    }
    server.kubectl(&["delete", "virtualservice", "bad", "-n", "shop"]).unwrap();

    server.kubectl_with(&objects(), &["apply", "-f", "-"]).unwrap();
    let kinds = server.kubectl(&["get", "crd", "-o", "name"]).unwrap();
    let kinds = kinds.lines().filter(|name| name.ends_with(".istio.io"));
    let kinds: Vec<&str> = kinds.filter_map(|name| name.split_once('/')?.1.split_once('.').map(|(plural, _)| plural)).collect();
    assert_eq!(kinds.len(), 15, "{kinds:?}");
    for kind in kinds {
        until(&format!("{kind} has a status"), || !of(&[kind, "one", "-n", "shop"], ".status.conditions").is_empty());
    }
    until("the Ingress has an address", || of(&["ingress", "one", "-n", "shop"], ".status.loadBalancer.ingress[0].ip") == "192.0.2.7");

    // The webhook is trusted, given rules, and tried out.
    let config = rendered(&["validatingwebhookconfiguration"]).unwrap();
    let config = server.kubectl_with(&config, &["create", "--dry-run=client", "-o", "json", "-f", "-"]).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["webhooks"][0]["clientConfig"] = json!({ "url": format!("https://{}/validate", istiod.webhook) });
    server.kubectl_with(&config.to_string(), &["apply", "-f", "-"]).unwrap();
    // Without a word it is `Fail` too, but nobody is asked anything.
    let strict = r#".webhooks[0].rules[0].operations[0]} {.webhooks[0].failurePolicy"#;
    until("the webhook is asked", || of(&["validatingwebhookconfiguration", VALIDATOR], strict) == "CREATE Fail");
    server.kubectl_with(&route(-1), &["apply", "-f", "-"]).unwrap_err();

    // Certificates: by a token of the cluster, and by one that only the API server can tell is none.
    let roots = istiod.path("root-cert.pem");
    until("the roots are published", || {
        let published = server.kubectl(&["get", "configmap", "istio-ca-root-cert", "-n", "shop", "-o", r"jsonpath={.data.root-cert\.pem}"]);
        published.is_ok_and(|text| !text.is_empty() && std::fs::write(&roots, text).is_ok())
    });
    let client = Client::new(&istiod.secured, &roots, None);
    let token = server.kubectl(&["create", "token", "default", "-n", "shop", "--audience=istio-ca"]).unwrap();
    client.certificate(Some(token.trim())).await.unwrap();
    client.certificate(Some(&foreign.token(&["--namespace=shop"]))).await.map(drop).unwrap_err();
    // A new root is kept in the Secret of the old one.
    assert_eq!(istiod.post("/debug/ca?order=new-root").0, 200);
}

fn audited(log: &Path) -> (BTreeSet<Asked>, Vec<Asked>) {
    let (mut all, mut refused) = (BTreeSet::new(), Vec::new());
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["user"]["username"] != ACCOUNT {
            continue;
        }
        let reference = |field: &str| event["objectRef"][field].as_str().unwrap_or_default().to_owned();
        let resource = match (reference("resource"), reference("subresource")) {
            (resource, _) if resource.is_empty() => event["requestURI"].as_str().unwrap().to_owned(),
            (resource, subresource) if subresource.is_empty() => resource,
            (resource, subresource) => format!("{resource}/{subresource}"),
        };
        let verb = event["verb"].as_str().unwrap().to_owned();
        let asked = Asked { verb, group: reference("apiGroup"), resource, namespace: reference("namespace"), name: reference("name") };
        if event["responseStatus"]["code"] == 403 {
            refused.push(asked.clone());
        }
        all.insert(asked);
    }
    (all, refused)
}

/// Each single thing that a rule allows: (group, resource, name, verb).
fn granted(role: &Value) -> Vec<(String, String, String, String)> {
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let or_any = |texts: Vec<String>| if texts.is_empty() { vec![String::new()] } else { texts };
    let mut all = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        let (groups, urls) = (or_any(texts(&rule["apiGroups"])), texts(&rule["nonResourceURLs"]));
        let resources = if urls.is_empty() { texts(&rule["resources"]) } else { urls };
        for verb in texts(&rule["verbs"]) {
            for group in &groups {
                for resource in &resources {
                    for name in or_any(texts(&rule["resourceNames"])) {
                        all.push((group.clone(), resource.clone(), name, verb.clone()));
                    }
                }
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_permissions_are_enough_and_not_too_many() {
    let Some(roles) = rendered(&["serviceaccount", "clusterrole", "role"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
    let rules = json!([{ "level": "Metadata", "users": [ACCOUNT] }, { "level": "None" }]);
    let whom = json!({ "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules });
    std::fs::write(&policy, whom.to_string()).unwrap();
    let flags = [format!("--audit-policy-file={}", policy.display()), format!("--audit-log-path={}", log.display())];
    let Some(server) = ApiServer::start_with(&flags.each_ref().map(String::as_str)).unwrap() else { return };
    server.kubectl(&["apply", "--server-side", "-f", &root().join("crds").display().to_string()]).unwrap();
    server.kubectl_with(REFERENCE_GRANTS, &["apply", "-f", "-"]).unwrap();
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).unwrap();
    for namespace in ["istio-system", "shop"] {
        server.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    server.kubectl_with(&roles, &["apply", "-f", "-"]).unwrap();
    // Another revision leads: which one is the default has to be looked up.
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "istio-status-leader", "namespace": "istio-system", "labels": { "istio.io/rev": "other" } },
        "spec": { "holderIdentity": "other-0", "leaseDurationSeconds": 600, "renewTime": "2026-01-01T00:00:00.000000Z" },
    });
    server.kubectl_with(&lease.to_string(), &["apply", "-f", "-"]).unwrap();

    let foreign = Istiod::start("");
    let mut istiod = Istiod::start_in_cluster(&kubeconfig(&server, folder.path()), &["--drainDuration=0s"]);
    use_all(&server, &istiod, &foreign).await;
    istiod.terminate();
    until("istiod has ended", || istiod.ended().is_some());

    let (asked, refused) = audited(&log);
    assert!(refused.is_empty(), "refused: {refused:#?}");
    let used = |verb: &str, group: &str, resource: &str, name: &str| {
        asked.iter().any(|asked| {
            let is_resource = if resource == "*" { !asked.resource.contains('/') } else { asked.resource == resource };
            asked.verb == verb && asked.group == group && is_resource && (name.is_empty() || asked.name == name)
        })
    };
    let mut unused = Vec::new();
    for role in [["clusterrole", "istiod-clusterrole-istio-system"], ["role", "istiod"]] {
        let role = server.kubectl(&["get", role[0], role[1], "-n", "istio-system", "-o", "json"]).unwrap();
        for (group, resource, name, verb) in granted(&serde_json::from_str(&role).unwrap()) {
            // A watch that brings what exists takes the place of a list; an API server that has none is asked for lists.
            let in_a_stream = verb == "list" && used("watch", &group, &resource, &name);
            let is_rare = RARE.contains(&(group.as_str(), resource.as_str(), name.as_str(), verb.as_str()));
            if !used(&verb, &group, &resource, &name) && !in_a_stream && !is_rare {
                unused.push(format!("{verb} {group}/{resource} {name}"));
            }
        }
    }
    assert!(unused.is_empty(), "granted and not used: {unused:#?}\nused: {asked:#?}");
}
