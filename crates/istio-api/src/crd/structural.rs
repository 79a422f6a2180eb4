//! From the schema of a type to the schema in a CRD: our own keywords are said in Kubernetes' words.

use serde_json::{Map, Value, json};

/// The schema with `x-oneof` as `oneOf`, `x-values` in the description, and `x-alias` as a second property.
pub(super) fn render(schema: &Value) -> Value {
    let Value::Object(from) = schema else { return schema.clone() };
    let mut to = Map::new();
    for (keyword, value) in from {
        match keyword.as_str() {
            "properties" => {
                to.insert(keyword.clone(), properties(value));
            }
            "items" | "additionalProperties" => {
                to.insert(keyword.clone(), render(value));
            }
            "x-duration" | "x-alias" | "x-oneof" | "x-values" => {}
            // The whole range of the type, which `format: int32` says.
            "minimum" if value.as_i64() == Some(i32::MIN.into()) => {}
            "maximum" if value.as_i64() == Some(i32::MAX.into()) => {}
            _ => {
                to.insert(keyword.clone(), value.clone());
            }
        }
    }
    if let Some(description) = with_values(from) {
        to.insert("description".into(), description.into());
    }
    to.extend(one_of(from.get("x-oneof")));
    Value::Object(to)
}

fn properties(value: &Value) -> Value {
    let mut properties = Map::new();
    for (name, property) in value.as_object().into_iter().flatten() {
        properties.insert(name.clone(), render(property));
        // Two fields are also known under the name in the .proto file; every other one only to the file source.
        if let Some(alias) = property.get("x-alias").and_then(Value::as_str) {
            let mut other = render(property);
            if let Value::Object(other) = &mut other {
                other.insert("description".into(), format!("The same as {name}.").into());
            }
            properties.insert(alias.into(), other);
        }
    }
    Value::Object(properties)
}

/// The description of an enum's field, with the meaning of each value.
fn with_values(schema: &Map<String, Value>) -> Option<String> {
    let names = schema.get("enum")?.as_array()?;
    let meanings = schema.get("x-values")?.as_array()?;
    let mut description = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    description.push_str("\n\nValues:");
    for (name, meaning) in names.iter().filter_map(Value::as_str).zip(meanings.iter().filter_map(Value::as_str)) {
        description.push_str(&format!("\n- {name}: {meaning}"));
    }
    Some(description)
}

/// At most one property of each group: none of them, or exactly one.
fn one_of(groups: Option<&Value>) -> Map<String, Value> {
    let required = |name: &Value| json!({ "required": [name] });
    let group = |names: &Value| {
        let members: Vec<Value> = names.as_array().into_iter().flatten().map(required).collect();
        let mut choices = vec![json!({ "not": { "anyOf": members } })];
        choices.extend(members);
        json!({ "oneOf": choices })
    };
    let mut groups: Vec<Value> = groups.and_then(Value::as_array).into_iter().flatten().map(group).collect();
    match groups.len() {
        0 => Map::new(),
        1 => groups.pop().and_then(|only| only.as_object().cloned()).unwrap_or_default(),
        _ => Map::from_iter([("allOf".to_string(), groups.into())]),
    }
}
