//! A case through the API server: its objects written there, and read back by the Kubernetes source.

use super::{Api, Watched};
use crate::{case::Case, mesh, report::Verdict};
use anyhow::{Context, Result, bail};
use config::{Change, Event};
use istio_api::{
    AnyObject, Kind,
    mesh::{MeshConfig, MeshNetworks},
};
use serde_json::{Map, Value, json};
use similar::TextDiff;
use std::{collections::BTreeMap, fs, net::IpAddr, sync::Arc};
use xds::Input;
use xds_wire::{ResourceType, View};

/// Which object.
type Named = (Kind, String, String);

fn named(object: &AnyObject) -> Named {
    let metadata = object.metadata();
    (object.kind(), metadata.namespace.to_string(), metadata.name.to_string())
}

/// Compares what is generated from the case's files with what is generated from the same objects in the cluster.
///
/// # Errors
/// If the API server refuses an object of Istio's kinds, or the two differ.
pub async fn check(case: &Case, api: &Api, watched: &mut Watched) -> Result<Verdict> {
    let case = &moved_case(case)?;
    let events = mesh::events(case)?.into_iter().map(moved_event).collect::<Result<Vec<_>>>()?;
    let own = events.iter().filter(|event| event.cluster == mesh::cluster());
    let objects: Vec<AnyObject> = own.filter_map(object_of).cloned().collect();
    let wanted: Vec<Value> = objects.iter().map(as_applied).collect::<Result<_>>()?;
    let result = compare(case, api, watched, events, (&objects, &wanted)).await;
    // Whatever came of it, the next case begins with nothing.
    remove(case, api, watched, &wanted).await?;
    match result {
        // Kubernetes has rules of its own, which files need not follow.
        Err(error) if error.chain().any(|cause| cause.to_string().contains(".k8s.io \"")) => Ok(Verdict::Skipped(format!("{error:#}"))),
        result => result.map(|()| Verdict::Checked),
    }
}

async fn compare(
    case: &Case,
    api: &Api,
    watched: &mut Watched,
    events: Vec<Event>,
    (objects, wanted): (&[AnyObject], &[Value]),
) -> Result<()> {
    write(case, api, wanted).await?;
    watched.until("all objects of the case", |watched| settled(watched, &events) && arrived(watched, objects, wanted)).await?;
    let seen: BTreeMap<Named, AnyObject> = watched.store.objects().into_iter().map(|object| (named(&object), object)).collect();
    let mut from_cluster = events.clone();
    for event in from_cluster.iter_mut().filter(|event| event.cluster == mesh::cluster()) {
        if let Change::Set(object) = &mut event.change
            && let Some(seen) = seen.get(&named(object))
        {
            *object = as_in_file(object, seen)?;
        }
    }
    same(&*view(case, events)?, &*view(case, from_cluster)?)
}

fn object_of(event: &Event) -> Option<&AnyObject> {
    match &event.change {
        Change::Set(object) => Some(object),
        _ => None,
    }
}

/// An EndpointSlice in a cluster cannot hold addresses of loopback, which those of a case are. The workload itself, which
/// a Sidecar may name, stays.
fn moved(text: &str) -> String {
    let text = text.replace("127.0.", "10.127.").replace("10.127.0.1", "127.0.0.1");
    text.replace("\"::1\"", "\"fd00::101\"").replace(",::1\"", ",fd00::101\"")
}

fn moved_case(case: &Case) -> Result<Case> {
    let mut case = case.clone();
    let proxy = &mut case.file.proxy;
    proxy.ip = moved(&proxy.ip.to_string()).parse::<IpAddr>()?;
    proxy.metadata = serde_json::from_str(&moved(&serde_json::to_string(&proxy.metadata)?))?;
    Ok(case)
}

fn moved_event(event: Event) -> Result<Event> {
    let Change::Set(object) = &event.change else { return Ok(event) };
    let change = Change::Set(decoded(&moved(&object.to_value()?.to_string()))?);
    Ok(Event { cluster: event.cluster, change })
}

fn decoded(text: &str) -> Result<AnyObject> {
    let decoded = config::decode::decode_json(serde_json::from_str(text)?);
    let object = decoded.objects.into_iter().find_map(|item| item.object);
    object.with_context(|| format!("{:?} of {text}", decoded.diagnostics))
}

/// What the API server asks for beyond what a case says.
fn as_applied(object: &AnyObject) -> Result<Value> {
    let mut value = object.to_value()?;
    let owners = value.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut).into_iter().flatten();
    for owner in owners.filter_map(Value::as_object_mut) {
        owner.insert("uid".to_owned(), json!("00000000-0000-0000-0000-000000000000"));
    }
    if let (AnyObject::Service(service), Some(Value::Object(spec))) = (object, value.get_mut("spec"))
        && service.spec.cluster_ips.len() > 1
    {
        spec.insert("ipFamilyPolicy".to_owned(), json!("RequireDualStack"));
    }
    if object.kind() == Kind::Pod {
        let spec = value.get_mut("spec").and_then(Value::as_object_mut).context("a pod without spec")?;
        let containers = spec.entry("containers").or_insert_with(|| json!([{ "name": "app" }]));
        for container in containers.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            container.entry("image").or_insert_with(|| json!("app"));
        }
    }
    Ok(value)
}

async fn write(case: &Case, api: &Api, objects: &[Value]) -> Result<()> {
    let mut data = Map::new();
    for (file, key) in [("mesh.yaml", "mesh"), ("networks.yaml", "meshNetworks")] {
        let path = case.folder.join(file);
        if path.exists() {
            data.insert(key.to_owned(), json!(fs::read_to_string(path)?));
        }
    }
    if !data.is_empty() {
        api.create(&settings(data)).await?;
    }
    for object in objects {
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        if let Some(namespace) = namespace {
            api.namespace(namespace).await?;
        }
        if object.get("kind") == Some(&json!("Namespace")) {
            api.namespace(object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()).await?;
            api.patch(object, &json!({ "metadata": { "labels": object.pointer("/metadata/labels") } })).await?;
        } else {
            api.create(object).await?;
        }
    }
    Ok(())
}

fn settings(data: Map<String, Value>) -> Value {
    let metadata = json!({ "name": "istio", "namespace": "istio-system" });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })
}

/// Whether the mesh-wide settings are those of the case.
fn settled(watched: &Watched, events: &[Event]) -> bool {
    events.iter().all(|event| match &event.change {
        Change::Mesh(mesh) => watched.store.mesh == *mesh,
        Change::Networks(networks) => watched.store.networks == *networks,
        _ => true,
    })
}

/// Whether everything of the case is in the store as it was written. Secrets that nothing names never come.
fn arrived(watched: &Watched, objects: &[AnyObject], wanted: &[Value]) -> bool {
    let seen: BTreeMap<Named, AnyObject> = watched.store.objects().into_iter().map(|object| (named(&object), object)).collect();
    let users = objects
        .iter()
        .filter(|object| matches!(object.kind(), Kind::Gateway | Kind::DestinationRule))
        .map(|object| object.to_value().map(|value| value.to_string()).unwrap_or_default());
    let users: String = users.collect();
    objects.iter().zip(wanted).all(|(object, wanted)| {
        let name = object.metadata().name.trim_end_matches("-cacert").to_owned();
        let unnamed = object.kind() == Kind::Secret && !users.contains(&format!("{name}\""));
        let Some(seen) = seen.get(&named(object)) else { return unnamed };
        let mut wanted = wanted.clone();
        if object.kind() == Kind::Pod {
            // Of the containers the proxy's alone is kept, of a single address only one of the two fields.
            for (part, fields) in [("spec", ["containers", "initContainers"]), ("status", ["podIPs", "conditions"])] {
                let part = wanted.get_mut(part).and_then(Value::as_object_mut);
                part.into_iter().for_each(|part| part.retain(|field, _| !fields.contains(&field.as_str())));
            }
        }
        seen.to_value().is_ok_and(|seen| contains(&seen, &wanted))
    })
}

/// Whether `whole` has every field of `part` that the source keeps.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part.iter().all(|(key, part)| match whole.get(key) {
            Some(whole) => key == "creationTimestamp" || contains(whole, part),
            None => matches!(key.as_str(), "image" | "stringData" | "creationTimestamp" | "uid"),
        }),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        (whole, part) => whole == part,
    }
}

/// The object as the cluster gives it, but with the file's metadata (a file says no creation time) and without the virtual
/// address that a cluster gives to a Service which asks for none.
fn as_in_file(file: &AnyObject, seen: &AnyObject) -> Result<AnyObject> {
    let (file_value, mut value) = (file.to_value()?, seen.to_value()?);
    if let (Some(metadata), Some(fields)) = (file_value.get("metadata"), value.as_object_mut()) {
        fields.insert("metadata".to_owned(), metadata.clone());
    }
    if let (AnyObject::Service(service), Some(Value::Object(spec))) = (file, value.get_mut("spec"))
        && service.spec.cluster_ip.is_empty()
    {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    decoded(&value.to_string())
}

fn view(case: &Case, events: Vec<Event>) -> Result<Arc<View>> {
    let mut inputs: Vec<Input> = events.into_iter().map(Input::Event).collect();
    inputs.push(mesh::connect(case)?);
    let publication = mesh::state(case).turn(inputs);
    let view = publication.views.into_iter().find(|(proxy, _)| *proxy == mesh::PROXY);
    Ok(view.context("no view was published for the proxy")?.1)
}

fn same(file: &View, cluster: &View) -> Result<()> {
    for kind in ResourceType::ALL {
        let text = |view: &View| -> Result<String> {
            let resources = view
                .of(kind)
                .iter()
                .map(|resource| xds_wire::json::to_json(kind.url().trim_start_matches("type.googleapis.com/"), &resource.body()));
            Ok(serde_json::to_string_pretty(&resources.collect::<Result<Vec<_>, _>>()?)?)
        };
        let names = |view: &View| -> BTreeMap<String, String> {
            view.of(kind).iter().map(|resource| (resource.name.to_string(), resource.version.to_string())).collect()
        };
        if names(file) != names(cluster) {
            let (file, cluster) = (text(file)?, text(cluster)?);
            let diff = TextDiff::from_lines(&file, &cluster);
            bail!("{kind} differs between files and cluster:\n{}", diff.unified_diff().context_radius(3));
        }
    }
    Ok(())
}

/// Takes everything of the case away again, and waits until that is seen.
async fn remove(case: &Case, api: &Api, watched: &mut Watched, objects: &[Value]) -> Result<()> {
    for object in objects {
        if object.get("kind") == Some(&json!("Namespace")) {
            let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
            let none: Map<String, Value> = labels.into_iter().flatten().map(|(key, _)| (key.clone(), Value::Null)).collect();
            api.patch(object, &json!({ "metadata": { "labels": none } })).await?;
        } else {
            api.delete_if_there(object).await?;
        }
    }
    if ["mesh.yaml", "networks.yaml"].iter().any(|file| case.folder.join(file).exists()) {
        api.delete_if_there(&settings(Map::new())).await?;
    }
    let gone = |watched: &Watched| {
        let defaults = *watched.store.networks == MeshNetworks::default() && *watched.store.mesh == MeshConfig::default();
        let left: Vec<Named> = watched.store.objects().iter().map(named).collect();
        let written =
            objects.iter().filter_map(|object| decoded(&object.to_string()).ok()).filter(|object| object.kind() != Kind::Namespace);
        defaults && written.map(|object| named(&object)).all(|name| !left.contains(&name))
    };
    watched.until("an end of the case's objects", gone).await
}
