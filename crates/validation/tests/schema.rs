//! The rules of the CRDs on objects from files: all of them can be evaluated, and each kind of rule is found and said.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use istio_api::{Kind, Metadata, decode};
use serde_json::Value;

/// `spec.field: text` for every error.
fn errors(kind: &str, spec: &str) -> Vec<String> {
    let kind = *Kind::ALL.iter().find(|candidate| candidate.as_str() == kind).unwrap();
    let document = format!("metadata: {{name: sample, namespace: shop}}\nspec: {spec}");
    let document: Value = serde_saphyr::from_str(&document).unwrap();
    let metadata: Metadata = serde_json::from_value(document["metadata"].clone()).unwrap();
    let object = decode(kind, metadata, document.clone()).unwrap();
    let found = validation::validate_document(&object, &document);
    found.iter().filter(|d| d.level == base::Level::Error).map(|d| format!("{}: {}", d.field, d.message)).collect()
}

/// Every expression of every kind.
fn expressions(schema: &Value, found: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.push(rule["rule"].as_str().unwrap().to_owned());
    }
    let fields = schema["properties"].as_object().into_iter().flat_map(|fields| fields.values());
    for inner in fields.chain(schema.get("items")).chain(schema.get("additionalProperties")) {
        expressions(inner, found);
    }
}

#[test]
fn every_expression_can_be_compiled() {
    let mut found = Vec::new();
    Kind::ALL.iter().filter_map(|kind| kind.schema()).for_each(|schema| expressions(schema, &mut found));
    assert!(found.len() > 100, "{}", found.len());
    for rule in found {
        assert!(cel::Program::compile(&rule).is_ok(), "{rule}");
    }
}

#[test]
fn what_the_api_server_would_refuse_is_refused() {
    let cases = [
        ("WorkloadEntry", "{}", "spec.address: address is required"),
        ("WorkloadEntry", "{address: 'unix:///run/app/'}", "spec.address: a Unix socket is a file, not a folder"),
        ("WorkloadEntry", "{address: 10.0.0.1, ports: {bad_name: 80}}", "spec.ports: a port name has letters, digits and '-'"),
        ("WasmPlugin", "{url: a, vmConfig: {env: [{name: A, valueFrom: HOST, value: ''}]}}", "spec.vmConfig.env[0].value: valueFrom HOST"),
        ("Telemetry", "{tracing: [{randomSamplingPercentage: 100.5}]}", "spec.tracing[0].randomSamplingPercentage: "),
        ("RequestAuthentication", "{jwtRules: [{issuer: a, spaceDelimitedClaims: ['']}]}", "spec.jwtRules[0].spaceDelimitedClaims[0]: "),
        ("WasmPlugin", "{url: 'ftp://host/a.wasm'}", "spec.url: "),
        ("WasmPlugin", "{url: 'oci://a%zz'}", "spec.url: "),
        ("WasmPlugin", "{url: a, match: [{ports: [{number: 80}, {number: 80}]}]}", "spec.match[0].ports[1]: a second item with number 80"),
        ("PeerAuthentication", "{portLevelMtls: {80: {mode: STRICT}}}", "spec.portLevelMtls: "),
    ];
    for (kind, spec, expected) in cases {
        let found = errors(kind, spec);
        assert!(found.iter().any(|error| error.starts_with(expected)), "{kind} {spec}\nexpected {expected}\nfound {found:#?}");
    }
}

#[test]
fn what_both_find_is_said_once() {
    let cases = [
        ("VirtualService", "{hosts: [a.b], http: [{route: [{destination: {host: a.b}}], timeout: 0.1ms}]}"),
        ("ServiceEntry", "{hosts: [a.b], ports: [{number: 80, name: http}], resolution: NONE, endpoints: [{address: 10.0.0.1}]}"),
        ("DestinationRule", "{}"),
        ("WorkloadEntry", "{}"),
    ];
    for (kind, spec) in cases {
        let found = errors(kind, spec);
        assert!(found.len() == 1, "{kind} {spec}: {found:#?}");
    }
}

#[test]
fn what_the_api_server_accepts_is_accepted() {
    let cases = [
        ("WasmPlugin", "{url: 'registry.example:5000/filters/auth:v1'}"),
        ("WorkloadEntry", "{address: 'unix://@app'}"),
        ("PeerAuthentication", "{selector: {matchLabels: {app: cart}}, portLevelMtls: {80: {mode: STRICT}}}"),
        ("DestinationRule", "{host: a.b, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 0s}}}}"),
        ("Telemetry", "{metrics: [{overrides: [{tagOverrides: {x: {operation: REMOVE}, y: {value: '\"a\"'}}}]}]}"),
    ];
    for (kind, spec) in cases {
        assert_eq!(errors(kind, spec), [""; 0], "{kind} {spec}");
    }
}
