//! Writes to the API server, without kubectl's start of a tenth of a second for each.

use anyhow::{Context, Error, Result};
use http::{Request, header::CONTENT_TYPE};
use istio_api::Kind;
use kube::Client;
use serde_json::{Value, json};

/// A client that writes.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

/// The path of a collection; of one namespace, or of all if it is empty.
fn collection(kind: Kind, namespace: &str) -> String {
    let group = if kind.group().is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", kind.api_version()) };
    match namespace {
        namespace if kind.namespaced() && !namespace.is_empty() => format!("{group}/namespaces/{namespace}/{}", kind.plural()),
        _ => format!("{group}/{}", kind.plural()),
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The path of an object.
fn path(object: &Value) -> Result<(String, String)> {
    let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    let kind = Kind::from_api(version, kind).with_context(|| format!("no kind {kind} in {version}"))?;
    let collection = collection(kind, text(object, "/metadata/namespace"));
    let name = text(object, "/metadata/name");
    Ok((collection.clone(), format!("{collection}/{name}")))
}

fn says(error: &Error, text: &str) -> bool {
    error.chain().any(|cause| cause.to_string().contains(text))
}

impl Api {
    /// Writes with `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn send(&self, request: http::request::Builder, body: &Value) -> Result<Value> {
        let body = serde_json::to_vec(body)?;
        let request = request.header(CONTENT_TYPE.as_str(), "application/json").body(body)?;
        let uri = request.uri().clone();
        self.client.request(request).await.with_context(|| uri.to_string())
    }

    /// Creates an object, then writes its status if it has one.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn create(&self, object: &Value) -> Result<()> {
        let (collection, path) = path(object)?;
        self.send(Request::post(collection), object).await?;
        match object.get("status") {
            Some(status) => self.merge(&format!("{path}/status"), &json!({ "status": status })).await,
            None => Ok(()),
        }
    }

    /// Lays fields over those of an object.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn patch(&self, object: &Value, fields: &Value) -> Result<()> {
        self.merge(&path(object)?.1, fields).await
    }

    async fn merge(&self, path: &str, fields: &Value) -> Result<()> {
        let request = Request::patch(path).header(CONTENT_TYPE.as_str(), "application/merge-patch+json");
        let request = request.body(serde_json::to_vec(fields)?)?;
        self.client.request::<Value>(request).await.with_context(|| path.to_owned())?;
        Ok(())
    }

    /// Deletes an object; one that does not exist is an error.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn delete(&self, object: &Value) -> Result<()> {
        let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0 });
        self.send(Request::delete(path(object)?.1), &options).await?;
        Ok(())
    }

    /// Deletes an object; one that does not exist is fine.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn delete_if_there(&self, object: &Value) -> Result<()> {
        match self.delete(object).await {
            Err(error) if says(&error, "not found") => Ok(()),
            result => result,
        }
    }

    /// Deletes all objects of a kind in a namespace.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn delete_all(&self, kind: Kind, namespace: &str) -> Result<()> {
        self.send(Request::delete(collection(kind, namespace)), &json!({})).await?;
        Ok(())
    }

    /// Creates a namespace; one that exists is fine.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        match self.send(Request::post(collection(Kind::Namespace, "")), &object).await {
            Err(error) if says(&error, "already exists") => Ok(()),
            result => result.map(|_| ()),
        }
    }
}
