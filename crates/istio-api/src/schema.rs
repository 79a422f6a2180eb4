//! The schema of a kind's `spec`, in the structural form that Kubernetes asks of a CRD.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The schema of `T` with everything inlined and in structural form: `type` is one word, maps are
/// `additionalProperties`, free-form objects say `x-kubernetes-preserve-unknown-fields`, oneofs say `x-oneof`.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    make_structural(&mut schema);
    schema
}

/// The value of `x-oneof`: the groups of a message with their fields in JSON's spelling.
pub(crate) fn oneofs(groups: &[&[&str]]) -> Value {
    groups.iter().map(|group| group.iter().map(|field| camel_case(field)).collect::<Vec<_>>()).collect()
}

/// `client_certificate` as `clientCertificate`, the rule by which proto JSON names fields.
fn camel_case(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    let mut upper = false;
    for letter in field.chars() {
        if letter == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            name.push(letter.to_ascii_uppercase());
        } else {
            name.push(letter);
        }
    }
    name
}

/// Rewrites what schemars says in JSON Schema's full language into the part that Kubernetes accepts.
fn make_structural(schema: &mut Value) {
    let Value::Object(map) = schema else {
        *schema = json!({ "x-kubernetes-preserve-unknown-fields": true });
        return;
    };
    for keyword in ["default", "title", "$schema"] {
        map.remove(keyword);
    }
    drop_null(map);
    if map.get("x-oneof").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        map.remove("x-oneof");
    }
    // A map with number keys: CRDs know no patternProperties, and JSON's keys are strings anyway.
    if let Some(Value::Object(patterns)) = map.remove("patternProperties")
        && let Some((_, values)) = patterns.into_iter().next()
    {
        map.insert("additionalProperties".into(), values);
    }
    match map.remove("additionalProperties") {
        Some(Value::Bool(true)) => {
            map.insert("x-kubernetes-preserve-unknown-fields".into(), Value::Bool(true));
        }
        Some(values @ Value::Object(_)) => {
            map.insert("additionalProperties".into(), values);
        }
        _ => {}
    }
    bound_integers(map);
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(make_structural);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(keyword) {
            make_structural(inner);
        }
    }
}

/// `Option<T>` is the schema of `T`: whoever writes null means the same as leaving the field out.
fn drop_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get("type")
        && let Some(only) = types.iter().find(|name| name.as_str() != Some("null")).cloned()
    {
        map.insert("type".into(), only);
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(choices)) = map.remove("anyOf")
        && let Some(Value::Object(only)) = choices.into_iter().find(|choice| choice.get("type") != Some(&json!("null")))
    {
        for (keyword, value) in only {
            map.entry(keyword).or_insert(value);
        }
    }
}

/// Kubernetes ignores the format `uint32`, so the bounds say it.
fn bound_integers(map: &mut Map<String, Value>) {
    match map.get("format").and_then(Value::as_str) {
        Some("uint32") => {
            map.remove("format");
            map.insert("minimum".into(), json!(0));
            map.insert("maximum".into(), json!(u32::MAX));
        }
        Some("uint64") => {
            map.remove("format");
            map.insert("minimum".into(), json!(0));
        }
        Some("int32") => {
            map.insert("minimum".into(), json!(i32::MIN));
            map.insert("maximum".into(), json!(i32::MAX));
        }
        _ => {}
    }
}
