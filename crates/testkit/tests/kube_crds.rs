//! The definitions in `crds/` on a real API server: accepted, explained, listed, and with the verdicts that files get.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // a failed look-up is a failed test

use anyhow::{Context, Result, ensure};
use config::decode::{Item, decode, parse, split};
use istio_api::Kind;
use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use kube_source::{Access, connect};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use testkit::kube::ApiServer;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An API server with our definitions, established.
fn with_definitions() -> Result<Option<ApiServer>> {
    let Some(server) = ApiServer::start()? else { return Ok(None) };
    let folder = root().join("crds");
    server.kubectl(&["apply", "--server-side", "-f", &folder.display().to_string()])?;
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;
    // What kubectl asks for names and descriptions follows a moment later, one group after the other.
    let end = Instant::now() + Duration::from_secs(60);
    for name in ["vs", "dr", "gw", "se", "we", "telemetry", "ap", "wasmplugins"] {
        while let Err(error) = server.kubectl(&["explain", &format!("{name}.spec")]) {
            ensure!(Instant::now() < end, "{error}");
            std::thread::sleep(Duration::from_millis(200));
            server.kubectl(&["api-resources", "--cached=false"])?;
        }
    }
    Ok(Some(server))
}

#[test]
fn users_find_what_they_know() -> Result<()> {
    let Some(server) = with_definitions()? else { return Ok(()) };
    // A second time, and by somebody else than Istio's installers, changes nothing.
    let again = server.kubectl(&["apply", "--server-side", "-f", &root().join("crds").display().to_string()])?;
    ensure!(again.lines().count() == 15, "{again}");
    let explained = server.kubectl(&["explain", "vs.spec.http.retries.perTryTimeout"])?;
    ensure!(explained.contains("How long each attempt may take"), "{explained}");
    let explained = server.kubectl(&["explain", "dr.spec.trafficPolicy.loadBalancer.simple"])?;
    ensure!(explained.contains("- ROUND_ROBIN: In turn."), "{explained}");
    let objects = "
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: a, namespace: default}
spec: {hosts: [a.b], gateways: [mesh], http: [{route: [{destination: {host: a.b}}], mirror: {host: c.d}, mirror_percent: 5}]}
---
{apiVersion: networking.istio.io/v1beta1, kind: DestinationRule, metadata: {name: a, namespace: default}, spec: {host: a.b}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: a, namespace: default}, spec: {servers: [{hosts: [a.b], port: {number: 80, name: http, protocol: HTTP}}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: a, namespace: default}, spec: {hosts: [a.b], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, name: http}]}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: a, namespace: default}, spec: {address: 10.0.0.1}}
";
    server.kubectl_with(objects, &["apply", "--server-side", "-f", "-"])?;
    let listed = server.kubectl(&["get", "vs,dr,gw,se,we"])?;
    let columns: Vec<Vec<&str>> =
        listed.lines().filter(|line| line.starts_with("NAME")).map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        vec!["NAME", "GATEWAYS", "HOSTS", "AGE"],
        vec!["NAME", "HOST", "AGE"],
        vec!["NAME", "AGE"],
        vec!["NAME", "HOSTS", "LOCATION", "RESOLUTION", "AGE"],
        vec!["NAME", "AGE", "ADDRESS"],
    ];
    ensure!(columns == expected, "{listed}");
    let kept = server.kubectl(&["get", "vs", "a", "-o", "jsonpath={.spec.http[0].mirror_percent}"])?;
    ensure!(kept == "5", "{kept}");
    Ok(())
}

/// The documents of a file with Istio's kinds, and what files say of each: the field of every error.
fn documents(text: &str) -> Result<Vec<(Value, Vec<String>)>> {
    let mut found = Vec::new();
    for part in split(text) {
        let Some(mut value) = parse(part.text).ok().flatten().map(|node| node.to_json()) else { continue };
        let (version, kind) = (value["apiVersion"].as_str().unwrap_or_default(), value["kind"].as_str().unwrap_or_default());
        let Some(kind) = Kind::from_api(version, kind).filter(|kind| !kind.is_kubernetes()) else { continue };
        let metadata = value["metadata"].as_object_mut().context("no metadata")?;
        metadata.insert("namespace".into(), "default".into());
        value
            .as_object_mut()
            .context("no object")?
            .retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "spec"));
        let decoded = decode(&value.to_string());
        let schema =
            |item: &Item| item.object.iter().flat_map(|object| validation::validate_schema(object, &item.body)).collect::<Vec<_>>();
        let of_schema = decoded.objects.iter().flat_map(schema);
        // Unknown fields are pruned by the API server; files say so, too, and use the object without them.
        let of_decoding =
            decoded.diagnostics.iter().map(|(_, found)| found.clone()).filter(|found| !found.message.starts_with("unknown field"));
        let fields = of_decoding.chain(of_schema).map(|found| found.field).collect();
        ensure!(!decoded.objects.is_empty(), "{kind}: {value}");
        found.push((value, fields));
    }
    Ok(found)
}

/// What the API server says if the object is created for trial; empty if it would be stored.
async fn verdict(client: &Client, value: &Value) -> Result<String> {
    let (version, kind) = (value["apiVersion"].as_str().unwrap_or_default(), value["kind"].as_str().unwrap_or_default());
    let known = Kind::from_api(version, kind).context("an unknown kind")?;
    let (group, version) = version.split_once('/').context("no group")?;
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), known.plural());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    match api.create(&PostParams { dry_run: true, ..PostParams::default() }, &serde_json::from_value(value.clone())?).await {
        Ok(_) => Ok(String::new()),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => Ok(status.message),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn the_api_server_and_files_have_the_same_verdicts() -> Result<()> {
    let Some(server) = with_definitions()? else { return Ok(()) };
    let client = connect(&Access::Kubeconfig(server.kubeconfig())).await?;
    let mut wrong = Vec::new();
    // What must be refused, and where.
    let refused = fs::read_to_string(root().join("tests/kube/objects/refused.yaml"))?;
    let wanted: Vec<String> =
        split(&refused).iter().filter_map(|part| parse(part.text).ok()??.to_json()["x-field"].as_str().map(str::to_owned)).collect();
    let documents_refused = documents(&refused)?;
    ensure!(wanted.len() == documents_refused.len() && wanted.len() > 50, "{} {}", wanted.len(), documents_refused.len());
    for ((value, fields), field) in documents_refused.iter().zip(&wanted) {
        let said = verdict(&client, value).await?;
        // A field that is missing is named by its message there, and by its path everywhere.
        let names_it = said.contains(field.as_str())
            || field.rsplit_once('.').is_some_and(|(parent, name)| said.contains(parent) && said.contains(name));
        if !names_it || !fields.iter().any(|found| found.starts_with(field.as_str())) {
            wrong.push(format!("{field}\n  the API server: {said}\n  files: {fields:?}"));
        }
    }
    // And every object of our cases.
    let mut count = 0;
    for file in config::file::files_below(&root().join("tests/cases"))? {
        if !file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("input")) {
            continue;
        }
        for (value, fields) in documents(&fs::read_to_string(&file)?)? {
            let said = verdict(&client, &value).await?;
            count += 1;
            if said.is_empty() != fields.is_empty() {
                wrong.push(format!("{} {}\n  the API server: {said}\n  files: {fields:?}", file.display(), value["metadata"]["name"]));
            }
        }
    }
    ensure!(count > 100, "only {count} objects of cases");
    ensure!(wrong.is_empty(), "{} verdicts differ:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
