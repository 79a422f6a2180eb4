//! Rules of Istio's kinds that one object alone can break.
//!
//! In: a typed object, and the JSON it was decoded from. Out: diagnostics that name the field and the way out; the texts are Istio's where it has one
//! (`pkg/config/validation`), since users search for them.
//! Never: I/O, another object (that is analysis), a change of the object. Wrong types, unknown fields and two members of
//! a oneof are found before, when a document is decoded.
//! Read first: `report.rs`, then `virtual_service.rs`; there is one file per kind. `schema/` has the rules of the CRDs.

mod amount;
mod authorization_policy;
mod destination_rule;
mod endpoint_slice;
mod envoy_filter;
mod gateway;
mod header;
mod host;
mod load_balancer;
mod mesh_config;
mod peer_authentication;
mod proxy_config;
mod report;
mod request_authentication;
mod route_match;
mod schema;
mod selector;
mod server_tls;
mod service_entry;
mod sidecar;
mod telemetry;
mod unreachable;
mod virtual_service;
mod wasm;
mod workload_entry;

use base::{Diagnostic, ObjectRef};
use istio_api::{AnyObject, mesh::MeshConfig};
use report::Report;
use serde_json::Value;

/// What is wrong with `object`, which was decoded from `body` (in the spelling of the schema): our own rules, and those
/// of the CRDs, by which the API server would refuse it. What both find is said once.
pub fn validate_document(object: &AnyObject, body: &Value) -> Vec<Diagnostic> {
    let mut diagnostics = validate(object);
    diagnostics.extend(schema::check(&object.object_ref(), object.kind(), body, &diagnostics));
    diagnostics
}

/// What the API server would refuse `object` for, which was decoded from `body`: the rules of the CRDs alone.
pub fn validate_schema(object: &AnyObject, body: &Value) -> Vec<Diagnostic> {
    schema::check(&object.object_ref(), object.kind(), body, &[])
}

/// What is wrong with the values of settings of the mesh; an error means that the field must not be used. Diagnostics name
/// no object, and the field without a `spec` before it.
pub fn validate_mesh_config(mesh: &MeshConfig) -> Vec<Diagnostic> {
    let mut report = Report::new(ObjectRef::new("MeshConfig", "", ""));
    mesh_config::validate(&mut report, mesh);
    report.diagnostics.into_iter().map(|diagnostic| Diagnostic { object: None, ..diagnostic }).collect()
}

/// What is wrong with `object`; errors mean that it must not be used. Of Kubernetes' own kinds
/// only endpoints have rules here.
pub fn validate(object: &AnyObject) -> Vec<Diagnostic> {
    let mut report = Report::new(object.object_ref());
    let namespace = object.metadata().namespace.as_str();
    match object {
        AnyObject::VirtualService(object) => virtual_service::validate(&mut report, namespace, &object.spec),
        AnyObject::DestinationRule(object) => destination_rule::validate(&mut report, namespace, &object.spec),
        AnyObject::Gateway(object) => gateway::validate(&mut report, &object.metadata, &object.spec),
        AnyObject::ServiceEntry(object) => service_entry::validate(&mut report, &object.metadata, &object.spec),
        AnyObject::WorkloadEntry(object) => workload_entry::validate(&mut report, &object.spec),
        AnyObject::WorkloadGroup(object) => workload_entry::validate_group(&mut report, &object.spec),
        AnyObject::Sidecar(object) => sidecar::validate(&mut report, namespace, &object.spec),
        AnyObject::EnvoyFilter(object) => envoy_filter::validate(&mut report, &object.spec),
        AnyObject::ProxyConfig(object) => proxy_config::validate(&mut report, &object.spec),
        AnyObject::PeerAuthentication(object) => peer_authentication::validate(&mut report, &object.spec),
        AnyObject::RequestAuthentication(object) => request_authentication::validate(&mut report, &object.spec),
        AnyObject::AuthorizationPolicy(object) => authorization_policy::validate(&mut report, &object.metadata, &object.spec),
        AnyObject::Telemetry(object) => telemetry::validate(&mut report, &object.spec),
        AnyObject::WasmPlugin(object) => wasm::validate_plugin(&mut report, &object.spec),
        AnyObject::TrafficExtension(object) => wasm::validate_extension(&mut report, &object.spec),
        AnyObject::EndpointSlice(object) => endpoint_slice::validate(&mut report, &object.spec),
        AnyObject::Service(_)
        | AnyObject::Pod(_)
        | AnyObject::Node(_)
        | AnyObject::Namespace(_)
        | AnyObject::Ingress(_)
        | AnyObject::IngressClass(_)
        | AnyObject::ReferenceGrant(_)
        | AnyObject::Secret(_)
        | AnyObject::ConfigMap(_) => {}
    }
    report.diagnostics
}
