//! The same objects in an API server that the control plane follows.

use crate::{
    Flags,
    folder::{self, Changed, Generation},
};
use anyhow::{Context, Result};
use futures::{TryStreamExt, stream};
use http::{Request, header::CONTENT_TYPE};
use kube_source::Access;
use serde_json::{Value, json};
use std::{path::Path, time::Instant};

/// Writes that wait for their answers at a time.
const AT_ONCE: usize = 32;

/// A client that writes.
pub struct Cluster(kube::Client);

impl Cluster {
    /// The cluster of a kubeconfig.
    pub async fn connect(kubeconfig: &Path) -> Result<Self> {
        Ok(Self(kube_source::connect(&Access::Kubeconfig(kubeconfig.to_owned())).await?))
    }

    /// Creates all namespaces and objects.
    pub async fn write(&self, flags: &Flags) -> Result<()> {
        // Where the control plane has its leases.
        let namespaces = (0..flags.namespaces).map(|i| folder::namespace(i, flags)).chain(["istio-system".to_owned()]);
        let namespaces = namespaces.map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
        self.create_all(namespaces.map(Ok)).await?;
        let objects = (0..flags.services).map(|i| folder::objects(i, Generation::default(), flags));
        self.create_all(objects.flat_map(|objects| match objects {
            Ok(objects) => objects.into_iter().map(|object| Ok(without_address(object))).collect(),
            Err(error) => vec![Err(error)],
        }))
        .await
    }

    async fn create_all(&self, objects: impl Iterator<Item = Result<Value>>) -> Result<()> {
        stream::iter(objects).try_for_each_concurrent(AT_ONCE, |object| async move { self.create(&object).await }).await
    }

    async fn create(&self, object: &Value) -> Result<()> {
        let request = Request::post(collection(object)?).header(CONTENT_TYPE, "application/json").body(serde_json::to_vec(object)?)?;
        self.0.request::<Value>(request).await.with_context(|| format!("creating {object}"))?;
        Ok(())
    }

    /// Changes one object of a service; the time at which the API server has said that it is written.
    pub async fn change(&self, i: usize, changed: Changed, generation: Generation, flags: &Flags) -> Result<Instant> {
        let (kind, field) = match changed {
            Changed::Endpoint => ("EndpointSlice", "endpoints"),
            Changed::Route => ("VirtualService", "spec"),
        };
        let objects = folder::objects(i, generation, flags)?;
        let object = objects.iter().find(|object| text(object, "/kind") == kind).context("no such object")?;
        let path = format!("{}/{}", collection(object)?, text(object, "/metadata/name"));
        let fields = serde_json::to_vec(&json!({ field: object.get(field) }))?;
        let request = Request::patch(path).header(CONTENT_TYPE, "application/merge-patch+json").body(fields)?;
        self.0.request_text(request).await.with_context(|| format!("changing {object}"))?;
        Ok(Instant::now())
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The path of the objects beside this one.
fn collection(object: &Value) -> Result<String> {
    let (version, namespace) = (text(object, "/apiVersion"), text(object, "/metadata/namespace"));
    let plural = match text(object, "/kind") {
        "Namespace" => return Ok("/api/v1/namespaces".to_owned()),
        "Service" => return Ok(format!("/api/v1/namespaces/{namespace}/services")),
        "EndpointSlice" => "endpointslices",
        "VirtualService" => "virtualservices",
        "DestinationRule" => "destinationrules",
        other => anyhow::bail!("no path is known for {other}"),
    };
    Ok(format!("/apis/{version}/namespaces/{namespace}/{plural}"))
}

/// The API server gives virtual addresses itself.
fn without_address(mut object: Value) -> Value {
    if let Some(Value::Object(spec)) = object.get_mut("spec") {
        spec.remove("clusterIP");
    }
    object
}
