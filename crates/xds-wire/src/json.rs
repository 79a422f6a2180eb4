//! Proto JSON for people and from them: debug pages, `proxy-config`, goldens, EnvoyFilter values. Never on the way of a
//! built resource to a proxy: reflection is some thirty times slower than the generated code, and its tables take tens
//! of megabytes once used.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use prost::encoding::WireType;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, SerializeOptions,
    Value as Field,
};
use serde_json::Value;
use xds_api::google::protobuf::Any;

/// How deep messages are packed in one another before the rest is shown as bytes. Envoy's own nesting is below ten.
const MAX_PACKED_DEPTH: usize = 32;

const ANY: &str = "google.protobuf.Any";

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

/// The build makes the set, so decoding cannot fail; were it broken, every type would be unknown.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(xds_api::DESCRIPTOR_SET).unwrap_or_default());

/// The descriptor of a message, by full name or type URL.
///
/// # Errors
/// [`Error::UnknownType`] when no generated message has that name.
pub fn descriptor(type_name: &str) -> Result<MessageDescriptor, Error> {
    let name = type_name.rsplit('/').next().unwrap_or(type_name);
    POOL.get_message_by_name(name).ok_or_else(|| Error::UnknownType(name.to_owned()))
}

/// The message in proto JSON with the names of the .proto files, as Envoy's own `config_dump` prints it: every `Any` is
/// expanded, one that cannot be (unknown type, malformed) is `{"@type", "value": <base64>}`; keys are sorted, whole
/// numbers are integers.
///
/// `type_name` is a full name or a type URL.
///
/// # Errors
/// When the type is unknown or `bytes` are not such a message.
pub fn to_json(type_name: &str, bytes: &[u8]) -> Result<Value, Error> {
    message_to_json(&DynamicMessage::decode(descriptor(type_name)?, bytes)?, 0)
}

/// A packed message by its own type URL, as it is shown inside another: it cannot fail, as the bytes are always there.
pub fn any_to_json(any: &Any) -> Value {
    packed_to_json(&any.type_url, &any.value, 0)
}

/// The encoded message of proto JSON. Both spellings of field names are taken, unknown fields are an error. Equal JSON
/// gives equal bytes: fields in the order of their numbers, maps in the order of their keys, in packed messages too.
///
/// # Errors
/// When the type is unknown, also that of a packed message, or the JSON does not fit it.
pub fn from_json(type_name: &str, value: &Value) -> Result<Vec<u8>, Error> {
    let message = DynamicMessage::deserialize_with_options(descriptor(type_name)?, value, &DeserializeOptions::new())?;
    encode(&message)
}

/// The encoded form of a dynamic message, with every map in the order of its keys. `DynamicMessage::encode` writes them in
/// the order of a hash map, which is another one each time.
///
/// # Errors
/// When a packed message of a known type is malformed.
pub fn encode(message: &DynamicMessage) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let packed = packed(message);
    for (field, value) in message.fields() {
        match (value, &packed) {
            (Field::Bytes(inner), Some(type_url)) => {
                let inner = match descriptor(type_url) {
                    Ok(descriptor) => encode(&DynamicMessage::decode(descriptor, inner.clone())?)?,
                    Err(_) => inner.to_vec(),
                };
                put(&mut bytes, message, &field, Field::Bytes(inner.into()));
            }
            (Field::Map(entries), _) => put_map(&mut bytes, &field, entries)?,
            (Field::List(items), _) if matches!(field.kind(), Kind::Message(_)) => {
                for item in items.iter().filter_map(Field::as_message) {
                    put_message(&mut bytes, &field, item)?;
                }
            }
            (Field::Message(child), _) => put_message(&mut bytes, &field, child)?,
            (scalars, _) => put(&mut bytes, message, &field, scalars.clone()),
        }
    }
    if message.unknown_fields().next().is_some() {
        let mut rest = message.clone();
        rest.take_fields().for_each(drop);
        bytes.extend(rest.encode_to_vec());
    }
    Ok(bytes)
}

/// Appends a field without messages in it: a message of this field alone, as parts in a row are their union.
fn put(bytes: &mut Vec<u8>, message: &DynamicMessage, field: &FieldDescriptor, value: Field) {
    let mut part = DynamicMessage::new(message.descriptor());
    part.set_field(field, value);
    bytes.extend(part.encode_to_vec());
}

fn put_message(bytes: &mut Vec<u8>, field: &FieldDescriptor, message: &DynamicMessage) -> Result<(), Error> {
    let inner = encode(message)?;
    prost::encoding::encode_key(field.number(), WireType::LengthDelimited, bytes);
    prost::encoding::encode_varint(inner.len() as u64, bytes);
    bytes.extend(inner);
    Ok(())
}

/// Appends a map: on the wire a list of messages with a key and a value.
fn put_map(bytes: &mut Vec<u8>, field: &FieldDescriptor, entries: &HashMap<MapKey, Field>) -> Result<(), Error> {
    let Kind::Message(entry) = field.kind() else { return Ok(()) };
    for (key, value) in entries.iter().collect::<BTreeMap<_, _>>() {
        let mut message = DynamicMessage::new(entry.clone());
        message.set_field(&entry.map_entry_key_field(), key.clone().into());
        message.set_field(&entry.map_entry_value_field(), value.clone());
        put_message(bytes, field, &message)?;
    }
    Ok(())
}

/// The type URL of what `message` packs, if it is an `Any`.
fn packed(message: &DynamicMessage) -> Option<String> {
    let type_url = (message.descriptor().full_name() == ANY).then(|| message.get_field_by_name("type_url"))??;
    type_url.as_str().map(str::to_owned)
}

/// `depth` counts the packed messages around this one.
fn message_to_json(message: &DynamicMessage, depth: usize) -> Result<Value, Error> {
    if let Some(type_url) = packed(message) {
        let inner = message.get_field_by_name("value");
        return Ok(packed_to_json(&type_url, inner.as_deref().and_then(Field::as_bytes).map_or(&[], |bytes| bytes), depth));
    }
    // The well-known types have JSON forms of their own, which prost-reflect knows; none of them packs a message.
    if message.descriptor().package_name() == "google.protobuf" {
        let options = SerializeOptions::new().use_proto_field_name(true);
        return Ok(canonical(message.serialize_with_options(serde_json::value::Serializer, &options)?));
    }
    let mut fields = BTreeMap::new();
    for (field, value) in message.fields() {
        fields.insert(field.name().to_owned(), field_to_json(&field.kind(), value, depth)?);
    }
    Ok(Value::Object(fields.into_iter().collect()))
}

fn field_to_json(kind: &Kind, field: &Field, depth: usize) -> Result<Value, Error> {
    Ok(match field {
        Field::Message(message) => message_to_json(message, depth)?,
        Field::List(items) => Value::Array(items.iter().map(|item| field_to_json(kind, item, depth)).collect::<Result<_, _>>()?),
        Field::Map(entries) => {
            let Kind::Message(entry) = kind else { return Ok(Value::Null) };
            let kind = entry.map_entry_value_field().kind();
            let entries = entries.iter().map(|(key, value)| Ok((key_text(key), field_to_json(&kind, value, depth)?)));
            let entries = entries.collect::<Result<BTreeMap<_, _>, Error>>()?;
            Value::Object(entries.into_iter().collect())
        }
        Field::EnumNumber(number) => match kind {
            Kind::Enum(descriptor) => descriptor.get_value(*number).map_or((*number).into(), |value| value.name().into()),
            _ => (*number).into(),
        },
        Field::Bool(value) => (*value).into(),
        Field::I32(value) => (*value).into(),
        Field::U32(value) => (*value).into(),
        // 64 bits do not fit a JSON number.
        Field::I64(value) => value.to_string().into(),
        Field::U64(value) => value.to_string().into(),
        // By its own shortest form: 0.1 and not 0.10000000149011612.
        Field::F32(value) => float(value.to_string().parse().unwrap_or(f64::from(*value))),
        Field::F64(value) => float(*value),
        Field::String(value) => value.as_str().into(),
        Field::Bytes(value) => BASE64_STANDARD.encode(value).into(),
    })
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// The fields of the packed message beside its `@type`, or its JSON under `value` if that is no object (as a packed
/// `StringValue`'s), or its bytes.
fn packed_to_json(type_url: &str, bytes: &[u8], depth: usize) -> Value {
    let message = descriptor(type_url).ok().filter(|_| depth < MAX_PACKED_DEPTH);
    let message = message.and_then(|descriptor| DynamicMessage::decode(descriptor, bytes).ok());
    let own_form = message.as_ref().is_some_and(|message| message.descriptor().package_name() == "google.protobuf");
    let mut fields = BTreeMap::from([("@type".to_owned(), Value::from(type_url))]);
    match message.and_then(|message| message_to_json(&message, depth + 1).ok()) {
        Some(Value::Object(inner)) if !own_form => fields.extend(inner),
        // protobuf's JSON mapping: an Empty has no value to show.
        Some(_) if type_url.ends_with("/google.protobuf.Empty") => {}
        Some(inner) => drop(fields.insert("value".to_owned(), inner)),
        None => drop(fields.insert("value".to_owned(), BASE64_STANDARD.encode(bytes).into())),
    }
    Value::Object(fields.into_iter().collect())
}

/// Whole numbers without a fraction, as Go and Envoy write them; JSON has no number for the three others.
fn float(value: f64) -> Value {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        // Below 2^53 every whole number is exact.
        value if value.fract() == 0.0 && value.abs() < 9.0e15 => (value as i64).into(),
        value => value.into(),
    }
}

/// Sorted keys and whole numbers in what prost-reflect rendered.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, canonical(value))).collect::<BTreeMap<_, _>>();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        Value::Number(number) if number.is_f64() => number.as_f64().map_or(Value::Number(number), float),
        other => other,
    }
}
