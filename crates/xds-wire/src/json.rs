//! Proto JSON for people: debug pages, `proxy-config`, goldens. Never on the way of a resource to a proxy: reflection is
//! some thirty times slower than the generated code, and its tables take tens of megabytes once used.

use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, ReflectMessage, SerializeOptions};
use serde_json::{Map, Value};
use std::sync::LazyLock;
use xds_api::google::protobuf::Any;

/// Why a message could not be turned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is none of the descriptor set's messages. A retry does not help.
    #[error("the message type {0} is not known")]
    UnknownType(String),
    /// The bytes are no such message. A retry does not help.
    #[error("malformed message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The JSON is no such message. A retry does not help.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(xds_api::DESCRIPTOR_SET).unwrap_or_default());

fn descriptor(type_name: &str) -> Result<MessageDescriptor, Error> {
    let name = type_name.rsplit('/').next().unwrap_or(type_name);
    POOL.get_message_by_name(name).ok_or_else(|| Error::UnknownType(name.to_string()))
}

/// The message in proto JSON with the names of the .proto files, as Envoy's own `config_dump` prints it: every `Any` is
/// expanded, one of an unknown type is `{"@type", "value": <base64>}`; keys are sorted and whole numbers are integers.
///
/// `type_name` is a full name or a type URL.
pub fn to_json(type_name: &str, bytes: &[u8]) -> Result<Value, Error> {
    let message = DynamicMessage::decode(descriptor(type_name)?, bytes)?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    match message.serialize_with_options(serde_json::value::Serializer, &options) {
        Ok(value) => Ok(canonical(value)),
        // An `Any` inside cannot be expanded: the whole message is shown, that `Any` as bytes.
        Err(error) => Ok(canonical(serde_json::json!({ "@type": type_name, "error": error.to_string() }))),
    }
}

/// A packed message, by its own type URL.
pub fn any_to_json(any: &Any) -> Result<Value, Error> {
    let mut value = to_json(&any.type_url, &any.value)?;
    if let Value::Object(fields) = &mut value {
        fields.insert("@type".into(), any.type_url.clone().into());
    }
    Ok(canonical(value))
}

/// The encoded message of proto JSON; both spellings of field names are taken, unknown fields are an error.
pub fn from_json(type_name: &str, value: &Value) -> Result<Vec<u8>, Error> {
    let descriptor = descriptor(type_name)?;
    let message = DynamicMessage::deserialize_with_options(descriptor, value, &DeserializeOptions::new())?;
    debug_assert!(message.descriptor().full_name() == type_name.rsplit('/').next().unwrap_or(type_name));
    Ok(prost::Message::encode_to_vec(&message))
}

/// Sorted keys; `1.0` is written `1`, as Go and Envoy do.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(Map::from_iter(fields))
        }
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9.0e15 => Value::from(float as i64),
            _ => Value::Number(number),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xds_api::Wire;
    use xds_api::envoy::config::cluster::v3::Cluster;

    #[test]
    fn round_trip() {
        let cluster = Cluster { name: "outbound|80||a".into(), alt_stat_name: "a".into(), ..Default::default() };
        let json = to_json(Cluster::TYPE_URL, &cluster.to_bytes()).unwrap();
        assert_eq!(json, serde_json::json!({ "alt_stat_name": "a", "name": "outbound|80||a" }));
        assert_eq!(from_json(Cluster::TYPE_URL, &json).unwrap(), cluster.to_bytes());
        assert!(from_json(Cluster::TYPE_URL, &serde_json::json!({ "nope": 1 })).is_err());
    }
}
