//! What a proxy is served, in the form of Envoy's own `config_dump`, without the contents of secrets.

use super::{
    Window,
    debug::{Answer, Parameters, Refusal},
    proxies,
};
use ads::ConnectionStatus;
use axum::http::StatusCode;
use serde_json::{Value, json};
use xds_api::google::protobuf::Any;
use xds_wire::{Encoded, ResourceType, View};

/// The dump of the proxy `proxyID`, in Istio's order of parts; with endpoints if `include_eds` is given. It holds what the
/// proxy has subscribed to, so that it can be compared with the proxy's own.
pub fn config_dump(window: &Window, parameters: &Parameters) -> Answer {
    let Some(id) = parameters.get("proxyID").filter(|id| !id.is_empty()) else {
        let message = "You must provide a proxyID in the query string; /debug/connections lists them".to_string();
        return Err(Refusal { status: StatusCode::BAD_REQUEST, message });
    };
    let connection = proxies::find(window, id)?;
    let gone = || Refusal { status: StatusCode::NOT_FOUND, message: "The proxy has just disconnected; ask again".to_string() };
    let (_, view) = window.connections.get_view(&connection.node.id).ok_or_else(gone)?;
    let version = view.revision.to_string();
    let of = |kind, part: fn(&Encoded) -> Value| -> Vec<Value> { subscribed(&connection, &view, kind).map(part).collect() };

    let mut configs = vec![
        json!({"@type": url("BootstrapConfigDump")}),
        json!({"@type": url("ClustersConfigDump"), "version_info": version, "dynamic_active_clusters": of(ResourceType::Cluster, cluster)}),
    ];
    if parameters.contains_key("include_eds") {
        configs.push(json!({"@type": url("EndpointsConfigDump"), "dynamic_endpoint_configs": of(ResourceType::Endpoint, endpoint)}));
    }
    configs.extend([
        json!({"@type": url("ListenersConfigDump"), "version_info": version, "dynamic_listeners": of(ResourceType::Listener, listener)}),
        json!({"@type": url("ScopedRoutesConfigDump")}),
        json!({"@type": url("RoutesConfigDump"), "dynamic_route_configs": of(ResourceType::Route, route)}),
        json!({"@type": url("SecretsConfigDump"), "dynamic_active_secrets": of(ResourceType::Secret, secret)}),
    ]);
    Ok(json!({"configs": configs}))
}

fn url(message: &str) -> String {
    format!("type.googleapis.com/envoy.admin.v3.{message}")
}

/// The resources of a type that the proxy has asked for.
fn subscribed<'a>(connection: &'a ConnectionStatus, view: &'a View, kind: ResourceType) -> impl Iterator<Item = &'a Encoded> {
    let status = connection.types.iter().find(|status| status.kind == kind);
    let all = status.is_some_and(|status| status.wildcard);
    let wanted = move |name: &str| all || status.is_some_and(|status| status.names.iter().any(|wanted| **wanted == *name));
    view.of(kind).iter().map(|resource| &**resource).filter(move |resource| wanted(&resource.name))
}

fn cluster(resource: &Encoded) -> Value {
    json!({"version_info": resource.version.to_string(), "cluster": body(ResourceType::Cluster, resource)})
}

fn endpoint(resource: &Encoded) -> Value {
    json!({"version_info": resource.version.to_string(), "endpoint_config": body(ResourceType::Endpoint, resource)})
}

fn listener(resource: &Encoded) -> Value {
    let state = json!({"version_info": resource.version.to_string(), "listener": body(ResourceType::Listener, resource)});
    json!({"name": *resource.name, "active_state": state})
}

fn route(resource: &Encoded) -> Value {
    json!({"version_info": resource.version.to_string(), "route_config": body(ResourceType::Route, resource)})
}

fn secret(resource: &Encoded) -> Value {
    let mut content = body(ResourceType::Secret, resource);
    redact(&mut content, true);
    json!({"name": *resource.name, "version_info": resource.version.to_string(), "secret": content})
}

fn body(kind: ResourceType, resource: &Encoded) -> Value {
    let mut content = xds_wire::json::any_to_json(&Any { type_url: kind.url().to_string(), value: resource.body() });
    redact(&mut content, false);
    content
}

/// Fields that Envoy's own dump hides, too (`udpa.annotations.sensitive`); users' EnvoyFilters may set them anywhere.
const SENSITIVE: [&str; 6] = ["private_key", "private_key_provider", "password", "session_ticket_keys", "generic_secret", "pkcs12"];

/// The base64 form of `[redacted]`.
const REDACTED_BYTES: &str = "W3JlZGFjdGVkXQ==";

/// Hides the data in sensitive fields, or in all fields if everything is `sensitive`; names of files remain.
fn redact(value: &mut Value, sensitive: bool) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match name.as_str() {
                    "inline_bytes" if sensitive => *field = REDACTED_BYTES.into(),
                    "inline_string" if sensitive => *field = "[redacted]".into(),
                    name => redact(field, sensitive || SENSITIVE.contains(&name)),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, sensitive)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn no_part_of_a_secret_is_shown() {
        let chain = json!({
            "name": "kubernetes://shop-tls",
            "tls_certificate": {
                "certificate_chain": {"inline_bytes": "Y2hhaW4="},
                "private_key": {"inline_string": "key"},
            },
        });
        let kind = ResourceType::Secret;
        let bytes = xds_wire::json::from_json(kind.url(), &chain).unwrap();
        let shown = secret(&Encoded::new(kind, "kubernetes://shop-tls".into(), &bytes, Arc::from([])));
        let content = &shown["secret"];
        assert_eq!(content["name"], "kubernetes://shop-tls");
        assert_eq!(content["tls_certificate"]["certificate_chain"], json!({"inline_bytes": REDACTED_BYTES}));
        assert_eq!(content["tls_certificate"]["private_key"], json!({"inline_string": "[redacted]"}));
    }

    #[test]
    fn keys_within_other_resources_are_hidden() {
        let mut context = json!({
            "tls_certificates": [{"certificate_chain": {"inline_string": "chain"}, "private_key": {"inline_string": "key"}}],
            "name": {"filename": "private_key"},
        });
        redact(&mut context, false);
        assert_eq!(
            context,
            json!({
                "tls_certificates": [{"certificate_chain": {"inline_string": "chain"}, "private_key": {"inline_string": "[redacted]"}}],
                "name": {"filename": "private_key"},
            })
        );
    }
}
