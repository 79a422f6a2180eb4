//! The schema of a kind's `spec`, in the structural form that Kubernetes asks of a CRD.
//!
//! Beside Kubernetes' keywords it has three of our own: `x-oneof` (groups of properties of which one may be set),
//! `x-duration` (a text in Go's syntax) and `x-values` (what each value of an enum means). The CRDs say them in
//! Kubernetes' words (`crd/structural.rs`).

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

/// The value of `x-kubernetes-validations`: expression, message, and the field below that the API server shall name
/// (`.endpoints`; empty for the place of the rule itself).
pub(crate) fn cel(rules: &[(&str, &str, &str)]) -> Value {
    let rule = |(rule, message, field): &(&str, &str, &str)| match *field {
        "" => json!({ "rule": rule, "message": message }),
        field => json!({ "rule": rule, "message": message, "fieldPath": field }),
    };
    rules.iter().map(rule).collect()
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
    each_value(map);
    if map.get("x-kubernetes-validations").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        map.remove("x-kubernetes-validations");
    }
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
    members_are_not_nullable(map);
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(keyword) {
            make_structural(inner);
        }
    }
}

/// `Option<T>` is the schema of `T`: whoever writes null means the same as leaving the field out. The API server accepts
/// null for scalars only, because Istio's CRDs do so (protobuf's wrapper types).
fn drop_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get("type")
        && let Some(only) = types.iter().find(|name| name.as_str() != Some("null")).cloned()
    {
        if matches!(only.as_str(), Some("boolean" | "integer" | "number")) {
            map.insert("nullable".into(), Value::Bool(true));
        }
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

/// Members of a oneof are no wrapper types: null is no value of theirs.
fn members_are_not_nullable(map: &mut Map<String, Value>) {
    let groups: Vec<Value> = map.get("x-oneof").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Object(properties)) = map.get_mut("properties") else { return };
    for member in groups.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str) {
        if let Some(Value::Object(property)) = properties.get_mut(member) {
            property.remove("nullable");
        }
    }
}

/// `x-each` of a field is about the items of its list, or the values of its map.
fn each_value(map: &mut Map<String, Value>) {
    let Some(Value::Object(constraints)) = map.remove("x-each") else { return };
    for keyword in ["items", "additionalProperties", "patternProperties"] {
        let inner = match (keyword, map.get_mut(keyword)) {
            ("patternProperties", Some(Value::Object(patterns))) => patterns.values_mut().next(),
            (_, inner) => inner,
        };
        if let Some(Value::Object(inner)) = inner {
            inner.extend(constraints.clone());
        }
    }
}

/// Kubernetes ignores the format `uint32`, so the bounds say it.
fn bound_integers(map: &mut Map<String, Value>) {
    match map.get("format").and_then(Value::as_str) {
        Some("uint32") => {
            map.remove("format");
            map.entry("minimum").or_insert(json!(0));
            map.entry("maximum").or_insert(json!(u32::MAX));
        }
        Some("uint64") => {
            map.remove("format");
            map.entry("minimum").or_insert(json!(0));
        }
        Some("int32") => {
            map.entry("minimum").or_insert(json!(i32::MIN));
            map.entry("maximum").or_insert(json!(i32::MAX));
        }
        _ => {}
    }
}
