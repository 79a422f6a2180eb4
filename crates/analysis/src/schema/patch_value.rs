//! The values of EnvoyFilters' patches against Envoy's types.

use crate::{code, report::Report};
use istio_api::{
    Object,
    networking::envoy_filter::{ApplyTo, EnvoyFilter, PatchOperation},
};
use serde_json::Value;

pub(crate) fn analyze(filter: &Object<EnvoyFilter>, report: &mut Report) {
    for (index, item) in filter.spec.config_patches.iter().enumerate() {
        let Some(patch) = item.patch.as_ref().filter(|patch| patch.operation != PatchOperation::Remove) else { continue };
        let (Some(value), Some(message)) = (&patch.value, message(item.apply_to)) else { continue };
        if let Err(error) = xds_wire::json::from_json(message, &Value::Object(value.clone())) {
            let problem = unknown_field(&error.to_string()).map(|field| format!("unknown field {field:?} in {message}"));
            let text = format!("Schema validation warning: Envoy filter: {}", problem.unwrap_or_else(|| error.to_string()));
            report.add(code::SCHEMA_WARNING, filter.object_ref(), format!("spec.configPatches[{index}].patch.value"), text);
        }
    }
    let text = "Schema validation warning: EnvoyFilter exposes internal implementation details that may change at any time. Prefer other \
                APIs if possible, and exercise extreme caution, especially around upgrades.";
    report.add(code::SCHEMA_WARNING, filter.object_ref(), "", text);
}

/// The type that is patched; `None` for parts that are no message of their own.
fn message(apply_to: ApplyTo) -> Option<&'static str> {
    Some(match apply_to {
        ApplyTo::Listener => "envoy.config.listener.v3.Listener",
        ApplyTo::FilterChain => "envoy.config.listener.v3.FilterChain",
        ApplyTo::NetworkFilter => "envoy.config.listener.v3.Filter",
        ApplyTo::ListenerFilter => "envoy.config.listener.v3.ListenerFilter",
        ApplyTo::HttpFilter => "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        ApplyTo::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
        ApplyTo::VirtualHost => "envoy.config.route.v3.VirtualHost",
        ApplyTo::HttpRoute => "envoy.config.route.v3.Route",
        ApplyTo::Cluster => "envoy.config.cluster.v3.Cluster",
        ApplyTo::ExtensionConfig => "envoy.config.core.v3.TypedExtensionConfig",
        ApplyTo::Bootstrap => "envoy.config.bootstrap.v3.Bootstrap",
        ApplyTo::Invalid => return None,
    })
}

/// The field of a reflection error that says a message has no such one.
fn unknown_field(error: &str) -> Option<&str> {
    let (_, after) = error.split_once("unrecognized field name '")?;
    after.split_once('\'').map(|(field, _)| field)
}
