//! The Kubernetes source against a real API server.

use anyhow::{Context, Result};
use base::{ClusterId, Diagnostic};
use config::{
    Change, Key,
    file::{Contents, FileSet},
};
use istio_api::Kind;
use kube_source::{Access, Options};
use serde_json::{Value, json};
use std::{fs, io::Write, path::Path, sync::Arc};
use testkit::{
    kube::{Api, ApiServer, Link, Watched, permissive_definition},
    report::Verdict,
};

fn options() -> Options {
    Options::new(ClusterId::new("Kubernetes"))
}

async fn api(server: &ApiServer) -> Result<Api> {
    Ok(Api::new(kube_source::connect(&Access::Kubeconfig(server.kubeconfig())).await?))
}

fn definitions() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds").display().to_string()
}

fn apply_definitions(server: &ApiServer) -> Result<()> {
    server.kubectl(&["apply", "--server-side", "-f", &definitions()])?;
    server.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?;
    Ok(())
}

/// Past the test harness, which would hide it.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "kube: {text}");
}

fn key(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.into(), name: Arc::from(name), cluster: ClusterId::new("Kubernetes") }
}

fn service(name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "default" },
        "spec": { "ports": [{ "name": "http", "port": port }] },
    })
}

fn virtual_service(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": name, "namespace": "default" },
        "spec": { "hosts": [host], "http": [{ "route": [{ "destination": { "host": "a" } }] }] },
    })
}

fn has_service(watched: &Watched, name: &str) -> bool {
    watched.store.services.get(&mut Default::default(), &key("default", name)).is_some()
}

fn has_virtual_service(watched: &Watched, name: &str) -> bool {
    watched.store.virtual_services.get(&mut Default::default(), &key("default", name)).is_some()
}

/// What was deleted among what was said, by name.
fn deleted(watched: &Watched) -> Vec<String> {
    let names = watched.events.iter().filter_map(|event| match &event.change {
        Change::Delete { name, .. } => Some(name.to_string()),
        _ => None,
    });
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_crashes_takes_nothing_away() -> Result<()> {
    let Some(mut server) = ApiServer::start()? else { return Ok(()) };
    let writer = api(&server).await?;
    for name in ["a", "b", "c"] {
        writer.create(&service(name, 80)).await?;
    }
    let mut watched = Watched::start(&server.kubeconfig(), options()).await?;
    watched.forget();
    server.kill_api_server();
    server.start_api_server()?;
    let writer = api(&server).await?;
    writer.delete(&service("b", 80)).await?;
    writer.create(&service("d", 80)).await?;
    watched.until("the newest state", |watched| has_service(watched, "d") && !has_service(watched, "b")).await?;
    assert_eq!(deleted(&watched), ["b"]);
    assert_eq!(watched.counts(), (1, 1), "{:#?}", watched.events);
    assert!(watched.metric("pilot_k8s_watch_failures_total") >= 1.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_the_history_was_lost_is_found_by_a_new_list() -> Result<()> {
    let Some(mut server) = ApiServer::start()? else { return Ok(()) };
    let writer = api(&server).await?;
    for name in ["stays", "goes"] {
        writer.create(&service(name, 80)).await?;
    }
    let link = Link::to(server.port()).await?;
    let mut watched = Watched::start(&server.kubeconfig_through(link.address.port())?, options()).await?;
    watched.forget();
    link.cut();
    writer.delete(&service("goes", 80)).await?;
    writer.create(&service("comes", 80)).await?;
    writer.patch(&service("stays", 80), &json!({ "metadata": { "labels": { "new": "yes" } } })).await?;
    // A new process has no history of its own, and etcd has none any more.
    server.kill_api_server();
    server.start_api_server()?;
    server.compact()?;
    link.mend();
    watched.until("the newest state", |watched| has_service(watched, "comes") && !has_service(watched, "goes")).await?;
    assert_eq!(deleted(&watched), ["goes"]);
    // What did not change was not said again.
    assert_eq!(watched.counts(), (2, 1), "{:#?}", watched.events);
    Ok(())
}

/// The definition as it was before it had any rule.
fn loosened(strict: &str) -> Result<String> {
    let mut loose: Value = serde_saphyr::from_str(strict)?;
    let versions = loose.pointer_mut("/spec/versions").and_then(Value::as_array_mut).context("no versions")?;
    for version in versions {
        let schema = version.pointer_mut("/schema/openAPIV3Schema").context("no schema")?;
        *schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    }
    Ok(loose.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_stored_before_its_schema_was_tightened_stops_no_other() -> Result<()> {
    let Some(server) = ApiServer::start()? else { return Ok(()) };
    let names = ["networking.istio.io.virtualservices.yaml", "telemetry.istio.io.telemetries.yaml"];
    let strict: Vec<String> =
        names.iter().map(|name| fs::read_to_string(Path::new(&definitions()).join(name))).collect::<Result<_, _>>()?;
    for definition in &strict {
        server.kubectl_with(&loosened(definition)?, &["create", "-f", "-"])?;
    }
    server.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?;
    let writer = api(&server).await?;
    let mut bad = virtual_service("bad", "bad.example.com");
    bad["spec"]["hosts"] = json!({ "not": "a list" });
    writer.create(&bad).await?;
    writer.create(&virtual_service("good", "good.example.com")).await?;
    // Only a rule of the schema speaks against this one.
    let unruly = json!({
        "apiVersion": "telemetry.istio.io/v1alpha1", "kind": "Telemetry", "metadata": { "name": "unruly", "namespace": "default" },
        "spec": { "tracing": [{ "randomSamplingPercentage": 100.5 }] },
    });
    writer.create(&unruly).await?;
    for definition in strict {
        server.kubectl_with(&definition, &["replace", "-f", "-"])?;
    }

    let mut watched = Watched::start(&server.kubeconfig(), options()).await?;
    assert!(has_virtual_service(&watched, "good") && !has_virtual_service(&watched, "bad"));
    let said: Vec<String> = watched.store.findings.values().flatten().map(ToString::to_string).collect();
    assert!(said.iter().any(|text| text.contains("VirtualService default/bad") && text.contains("spec.hosts")), "{said:#?}");
    let in_file =
        FileSet::new(ClusterId::new("Kubernetes")).apply([("file.yaml".into(), Contents::Bytes(unruly.to_string().into_bytes()))]);
    let words = |diagnostics: &[Diagnostic]| diagnostics.iter().map(|d| (d.field.clone(), d.message.clone())).collect::<Vec<_>>();
    let in_file = in_file.iter().find_map(|event| match &event.change {
        Change::Findings { diagnostics, .. } => Some(words(diagnostics)),
        _ => None,
    });
    let of_unruly = watched.store.findings.values().find(|found| found.iter().any(|d| d.to_string().contains("unruly")));
    assert_eq!(of_unruly.map(|found| words(found)), in_file);
    assert!(watched.store.telemetries.is_empty() && in_file.is_some());
    writer.delete(&unruly).await?;
    // The watch goes on behind it, and once it is mended nothing is said any more.
    writer.create(&virtual_service("later", "later.example.com")).await?;
    writer.patch(&bad, &json!({ "spec": { "hosts": ["bad.example.com"] } })).await?;
    let settled = |watched: &Watched| {
        has_virtual_service(watched, "later") && has_virtual_service(watched, "bad") && watched.store.findings.values().all(Vec::is_empty)
    };
    watched.until("both, and nothing to say", settled).await?;
    assert_eq!(watched.store.findings.values().flatten().count(), 0, "{:#?}", watched.store.findings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_namespaces_and_secrets_come_and_go() -> Result<()> {
    let Some(server) = ApiServer::start()? else { return Ok(()) };
    let writer = api(&server).await?;
    writer.namespace("istio-system").await?;
    writer.namespace("other").await?;
    // Without one of Istio's kinds: synced all the same.
    let mut watched = Watched::start(&server.kubeconfig(), options()).await?;
    apply_definitions(&server)?;
    writer.create(&virtual_service("web", "web.example.com")).await?;
    watched.until("a kind that came later", |watched| has_virtual_service(watched, "web")).await?;

    // Of other revisions, and of namespaces that no selector selects, nothing is seen.
    let mut canary = virtual_service("canary", "canary.example.com");
    canary["metadata"]["labels"] = json!({ "istio.io/rev": "canary" });
    writer.create(&canary).await?;
    let selectors = "discoverySelectors:\n- matchLabels: {mesh: shop}\n";
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "istio", "namespace": "istio-system" }, "data": { "mesh": selectors },
    });
    writer.create(&settings).await?;
    watched.until("an end of the unselected", |watched| !has_virtual_service(watched, "web")).await?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } });
    writer.patch(&namespace, &json!({ "metadata": { "labels": { "mesh": "shop" } } })).await?;
    watched.until("what is selected now", |watched| has_virtual_service(watched, "web")).await?;
    assert!(!has_virtual_service(&watched, "canary"));
    // Until a tag says that the other revision is this one.
    let tag = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "istio-revision-tag-canary", "labels": { "istio.io/tag": "canary", "istio.io/rev": "default" } },
    });
    server.kubectl_with(&tag.to_string(), &["apply", "-f", "-"])?;
    watched.until("what the tag stands for", |watched| has_virtual_service(watched, "canary")).await?;

    // Only Secrets that something names.
    let secret = |name: &str| {
        let metadata = json!({ "name": name, "namespace": "default" });
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": { "tls.key": "a2V5" } })
    };
    writer.create(&secret("named")).await?;
    writer.create(&secret("stranger")).await?;
    let server_of = |credential: &str| {
        json!({
            "port": { "number": 443, "name": "https", "protocol": "HTTPS" }, "hosts": ["*"],
            "tls": { "mode": "SIMPLE", "credentialName": credential },
        })
    };
    let gateway = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": { "name": "gateway", "namespace": "default" },
        "spec": { "selector": { "istio": "gateway" }, "servers": [server_of("named")] },
    });
    writer.create(&gateway).await?;
    let has_secret = |watched: &Watched, name: &str| watched.store.secrets.get(&mut Default::default(), &key("default", name)).is_some();
    watched.until("the Secret that is named", |watched| has_secret(watched, "named")).await?;
    writer.patch(&gateway, &json!({ "spec": { "servers": [server_of("stranger")] } })).await?;
    watched.until("the other one", |watched| has_secret(watched, "stranger") && !has_secret(watched, "named")).await?;

    // With its definition a kind goes, and with it its objects.
    server.kubectl(&["delete", "crd", "virtualservices.networking.istio.io"])?;
    watched.until("an end of the kind", |watched| !has_virtual_service(watched, "web")).await?;
    assert_eq!(watched.store.objects().iter().filter(|object| object.kind() == Kind::VirtualService).count(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_give_the_same_from_a_cluster_as_from_files() -> Result<()> {
    // A pod of a case names a service account that nobody has made, and services of cases have addresses of both families.
    let flags = ["--disable-admission-plugins=ServiceAccount", "--service-cluster-ip-range=10.96.0.0/12,fd00::/112"];
    let Some(server) = ApiServer::start_with(&flags)? else { return Ok(()) };
    let of_gateway_api = Kind::ALL.iter().filter(|kind| kind.group() == "gateway.networking.k8s.io");
    for kind in of_gateway_api {
        server.kubectl_with(&permissive_definition(*kind, kind.versions()).to_string(), &["create", "-f", "-"])?;
    }
    apply_definitions(&server)?;
    let writer = api(&server).await?;
    writer.namespace("istio-system").await?;
    let mut watched = Watched::start(&server.kubeconfig(), options()).await?;
    let (mut checked, mut failed) = (0, Vec::new());
    for case in testkit::case::all()? {
        match testkit::kube::case::check(&case, &writer, &mut watched).await {
            Ok(Verdict::Skipped(why)) => say(&format!("skipped {}: {why}", case.name)),
            Ok(_) => checked += 1,
            Err(error) => failed.push(format!("{}: {error:#}", case.name)),
        }
    }
    say(&format!("{checked} cases checked, {} failed", failed.len()));
    assert!(failed.is_empty(), "{} failed\n\n{}", failed.len(), failed.join("\n\n"));
    Ok(())
}
