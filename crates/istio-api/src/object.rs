//! One object of any kind: its metadata, `spec` and `status`.

use crate::{kind::Resource, scalar::Timestamp};
use base::{Labels, Namespace, ObjectRef};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};

/// Where the fields of a kind stand in its objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// In `spec`.
    Spec,
    /// Beside `metadata`.
    Body,
}

/// The part of `metadata` that the control plane reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Unique within kind and namespace.
    pub name: Arc<str>,
    /// Empty for a kind without namespaces.
    #[serde(skip_serializing_if = "crate::message::is_default")]
    pub namespace: Namespace,
    /// For selectors.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "crate::message::is_default")]
    pub labels: Labels,
    /// For everything else.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// By which the older of two conflicting objects wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Timestamp>,
    /// Counts the changes of `spec`.
    #[serde(skip_serializing_if = "crate::message::is_default")]
    pub generation: i64,
    /// Changes with every change of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Differs for an object that is deleted and made again.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// What made the object.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
}

/// What made an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// `apps/v1`
    pub api_version: String,
    /// `ReplicaSet`
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Go writes an unset list or map as null.
fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An object of the kind whose `spec` is `T`.
#[derive(Debug)]
pub struct Object<T: Resource> {
    /// Name, labels and the like.
    pub metadata: Metadata,
    /// What the user wants (the whole body for kinds without `spec`).
    pub spec: T,
    /// What controllers found; [`crate::status::Unread`] for kinds whose status is not read.
    pub status: T::Status,
}

impl<T: Resource> Clone for Object<T> {
    fn clone(&self) -> Self {
        Self { metadata: self.metadata.clone(), spec: self.spec.clone(), status: self.status.clone() }
    }
}

impl<T: Resource> PartialEq for Object<T> {
    fn eq(&self, other: &Self) -> bool {
        self.metadata == other.metadata && self.spec == other.spec && self.status == other.status
    }
}

impl<T: Resource> Object<T> {
    /// An object without status.
    pub fn new(metadata: Metadata, spec: T) -> Self {
        Self { metadata, spec, status: T::Status::default() }
    }

    /// Decodes the whole object `body`; its metadata was decoded before. Errors are those of serde: a wrong type, an
    /// unknown enum value, a malformed duration. Unknown fields are skipped.
    pub fn decode(metadata: Metadata, body: Value) -> Result<Self, serde_json::Error> {
        let Value::Object(mut body) = body else {
            return Err(serde::de::Error::custom("the document is not an object"));
        };
        let status = take(&mut body, "status");
        let mut spec = match T::LAYOUT {
            Layout::Spec => take(&mut body, "spec"),
            Layout::Body => Value::Object(body),
        };
        if T::KIND.is_kubernetes() {
            drop_nulls(&mut spec);
        }
        Ok(Self { metadata, spec: serde_json::from_value(spec)?, status: decode_status(status)? })
    }

    /// Decodes the JSON of a whole object without building a tree of it first: for kinds of which there are thousands.
    /// Fails also where [`Object::decode`] does not, for null in place of a list or map.
    pub fn decode_text(text: &[u8]) -> Result<Self, serde_json::Error> {
        let (metadata, spec, status) = match T::LAYOUT {
            Layout::Spec => {
                let Parts { metadata, spec, status } = serde_json::from_slice::<Parts<T, T::Status>>(text)?;
                (metadata, spec, status)
            }
            Layout::Body => {
                let Parts { metadata, status, .. } = serde_json::from_slice::<Parts<IgnoredAny, T::Status>>(text)?;
                (metadata, serde_json::from_slice(text)?, status)
            }
        };
        Ok(Self { metadata, spec, status })
    }

    /// The object's name for diagnostics.
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef { kind: T::KIND.as_str(), namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }

    /// The object as the API server would write it, in the storage version.
    pub fn to_value(&self) -> Result<Value, serde_json::Error> {
        let mut object = Map::new();
        object.insert("apiVersion".into(), T::KIND.api_version().into());
        object.insert("kind".into(), T::KIND.as_str().into());
        object.insert("metadata".into(), serde_json::to_value(&self.metadata)?);
        match (T::LAYOUT, serde_json::to_value(&self.spec)?) {
            (Layout::Body, Value::Object(body)) => object.extend(body),
            (_, spec) => {
                object.insert("spec".into(), spec);
            }
        }
        match serde_json::to_value(&self.status)? {
            Value::Null => {}
            Value::Object(status) if status.is_empty() => {}
            status => {
                object.insert("status".into(), status);
            }
        }
        Ok(Value::Object(object))
    }
}

/// An object as it stands in JSON, as far as it is read.
#[derive(Deserialize)]
#[serde(bound = "S: Default + Deserialize<'de>, T: Default + Deserialize<'de>")]
struct Parts<S, T> {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: S,
    #[serde(default)]
    status: T,
}

/// The status is written by programs, Go's above all, which write null for unset.
fn decode_status<S: serde::de::DeserializeOwned>(mut status: Value) -> Result<S, serde_json::Error> {
    drop_nulls(&mut status);
    serde_json::from_value(status)
}

/// The field's value; an empty object if it is missing or null.
fn take(body: &mut Map<String, Value>, field: &str) -> Value {
    match body.remove(field) {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(value) => value,
    }
}

/// Go writes an unset list or map as null; to Kubernetes both are the same.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
