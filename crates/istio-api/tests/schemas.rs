//! The schemas: complete, and in the structural form of CRDs.

use istio_api::{Kind, mesh};
use serde_json::Value;

/// The paths of all properties, `http[].route[].weight`; `{}` stands for the key of a map.
fn paths(schema: &Value, prefix: &str, found: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        paths(property, &path, found);
        found.push(path);
    }
    for (keyword, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(keyword) {
            paths(inner, &format!("{prefix}{mark}"), found);
        }
    }
}

fn paths_of(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    paths(schema, "", &mut found);
    found
}

/// What Kubernetes asks of structural schemas, as far as schemars could break it.
fn assert_structural(schema: &Value, path: &str) {
    assert!(schema.is_object(), "{path}: {schema}");
    for (keyword, _) in schema.as_object().into_iter().flatten() {
        let known = [
            "type",
            "format",
            "description",
            "properties",
            "items",
            "additionalProperties",
            "enum",
            "minimum",
            "maximum",
            "minProperties",
            "maxProperties",
            "minItems",
            "maxItems",
            "minLength",
            "maxLength",
            "pattern",
            "required",
            "nullable",
            "x-oneof",
            "x-duration",
            "x-values",
            "x-alias",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-validations",
            "x-kubernetes-list-type",
            "x-kubernetes-list-map-keys",
        ];
        assert!(known.contains(&keyword.as_str()), "{path}: {keyword}");
    }
    assert!(schema["type"].is_string(), "{path}: {:?}", schema["type"]);
    let properties = schema.get("properties").and_then(Value::as_object);
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        assert!(
            properties.is_some_and(|fields| required.as_str().is_some_and(|name| fields.contains_key(name))),
            "{path}: {required} is no property"
        );
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        assert_structural(property, &format!("{path}.{name}"));
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(keyword) {
            assert_structural(inner, &format!("{path}{{}}"));
        }
    }
}

fn at<'a>(schema: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(schema, |schema, name| schema.get("properties").and_then(|fields| fields.get(*name)).unwrap_or(&schema["items"]))
}

#[test]
fn schemas_are_structural_and_describe_every_field() {
    for kind in Kind::ALL {
        assert_eq!(kind.schema().is_none(), kind.is_kubernetes(), "{kind}");
        if let Some(schema) = kind.schema() {
            assert_structural(schema, kind.as_str());
        }
    }
    for schema in [mesh::mesh_config_schema(), mesh::proxy_config_schema(), mesh::mesh_networks_schema()] {
        assert_structural(schema, "mesh");
    }
}

#[test]
fn a_virtual_service_reads_as_its_users_write_it() {
    let schema = Kind::VirtualService.schema().unwrap();
    let paths = paths_of(schema);
    for path in ["http[].route[].destination.port.number", "http[].match[].headers{}.exact", "tls[].match[].sniHosts", "exportTo"] {
        assert!(paths.iter().any(|found| found == path), "{path}");
    }
    let uri = at(schema, &["http", "[]", "match", "[]", "uri"]);
    assert_eq!(uri["x-oneof"], serde_json::json!([["exact", "prefix", "regex"]]));
    let port = at(schema, &["http", "[]", "match", "[]", "port"]);
    assert_eq!((&port["type"], &port["minimum"], &port["maximum"]), (&"integer".into(), &0.into(), &u32::MAX.into()));
    let timeout = at(schema, &["http", "[]", "timeout"]);
    assert_eq!((&timeout["type"], &timeout["x-duration"]), (&"string".into(), &true.into()));
    let preflights = at(schema, &["http", "[]", "corsPolicy", "unmatchedPreflights"]);
    assert_eq!(preflights["enum"], serde_json::json!(["UNSPECIFIED", "FORWARD", "IGNORE"]));
    let ports = at(Kind::PeerAuthentication.schema().unwrap(), &["portLevelMtls"]);
    assert!(ports["additionalProperties"]["properties"]["mode"].is_object());
    let value = at(Kind::EnvoyFilter.schema().unwrap(), &["configPatches", "[]", "patch", "value"]);
    assert_eq!(value["x-kubernetes-preserve-unknown-fields"], true);
}

/// The number of property paths in the schema of Istio's storage version, less the two old spellings that Istio's CRDs
/// list apart (`mirror_percent`, `jwks_uri`): every field is accepted in snake case here. A field that is lost or added
/// shows in these numbers.
#[test]
fn the_number_of_fields_is_istios() {
    let counts: Vec<(&str, usize)> = Kind::ALL.iter().filter_map(|kind| Some((kind.as_str(), paths_of(kind.schema()?).len()))).collect();
    let expected = [
        ("VirtualService", 168 - 1),
        ("DestinationRule", 387),
        ("Gateway", 33),
        ("ServiceEntry", 21),
        ("WorkloadEntry", 7),
        ("WorkloadGroup", 33),
        ("Sidecar", 93),
        ("EnvoyFilter", 59),
        ("ProxyConfig", 6),
        ("PeerAuthentication", 6),
        ("RequestAuthentication", 31 - 1),
        ("AuthorizationPolicy", 46),
        ("Telemetry", 54),
        ("WasmPlugin", 32),
        ("TrafficExtension", 30),
    ];
    assert_eq!(counts, expected);
}
