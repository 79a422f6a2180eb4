//! Connected proxies: `syncz`, `adsz` and `connections`.

use super::{
    Window,
    debug::{Answer, Parameters, Refusal},
    timestamp::rfc3339,
};
use ads::{ConnectionStatus, ResponseStatus, TypeStatus};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use xds_api::Wire;
use xds_wire::ResourceType;

/// How far one proxy is: the fields of Istio's `SyncStatus`. A field of a type that the proxy was not sent is missing.
#[derive(Serialize)]
struct SyncStatus {
    #[serde(skip_serializing_if = "String::is_empty")]
    cluster_id: String,
    proxy: String,
    proxy_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    istio_version: String,
    #[serde(flatten)]
    nonces: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    resources: BTreeMap<&'static str, ResourceStatus>,
}

/// How far one type of one proxy is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acked: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

/// What each proxy was sent last, and what it has accepted.
pub fn syncz(window: &Window, parameters: &Parameters) -> Answer {
    let mut connections = sorted(window);
    if let Some(namespace) = parameters.get("namespace").filter(|namespace| !namespace.is_empty()) {
        connections.retain(|connection| namespace_of(connection) == *namespace);
    }
    encode(connections.iter().map(SyncStatus::of).collect::<Vec<_>>())
}

/// Who is connected and has subscribed to what; of one proxy with `proxyID`.
pub fn adsz(window: &Window, parameters: &Parameters) -> Answer {
    let connections = match parameters.get("proxyID").filter(|id| !id.is_empty()) {
        Some(id) => vec![find(window, id)?],
        None => sorted(window),
    };
    let clients: Vec<Value> = connections.iter().map(|connection| client(connection, true)).collect();
    Ok(json!({"totalClients": clients.len(), "clients": clients}))
}

/// Who is connected.
pub fn connections(window: &Window, _: &Parameters) -> Answer {
    let clients: Vec<Value> = sorted(window).iter().map(|connection| client(connection, false)).collect();
    Ok(json!({"totalClients": clients.len(), "clients": clients}))
}

/// The newest stream of the proxy with this node id or `<name>.<namespace>`, else of one whose connection id contains
/// the text, as in Istio.
pub fn find(window: &Window, id: &str) -> Result<ConnectionStatus, Refusal> {
    let mut connections = window.connections.list();
    let exact = connections.iter().rposition(|connection| connection.node.id == id || name_of(connection) == id);
    match exact.or_else(|| connections.iter().rposition(|connection| connection.id.contains(id))) {
        Some(position) => Ok(connections.swap_remove(position)),
        None => Err(Refusal {
            status: StatusCode::NOT_FOUND,
            message: "Proxy not connected to this Pilot instance. It may be connected to another instance. \
                      /debug/connections lists the ones connected here."
                .to_string(),
        }),
    }
}

fn sorted(window: &Window) -> Vec<ConnectionStatus> {
    let mut connections = window.connections.list();
    connections.sort_by(|a, b| a.id.cmp(&b.id));
    connections
}

/// `<name>.<namespace>`, the third part of the node id.
fn name_of(connection: &ConnectionStatus) -> &str {
    connection.node.id.split('~').nth(2).unwrap_or(&connection.node.id)
}

fn namespace_of(connection: &ConnectionStatus) -> String {
    xds::parse_node(&connection.node).map(|traits| traits.namespace.to_string()).unwrap_or_default()
}

fn client(connection: &ConnectionStatus, details: bool) -> Value {
    let mut fields = json!({
        "connectionId": connection.id,
        "connectedAt": rfc3339(connection.connected_at),
        "address": connection.peer.address.to_string(),
    });
    let (Value::Object(object), true) = (&mut fields, details) else { return fields };
    let node = &connection.node;
    if let Ok(traits) = xds::parse_node(node) {
        object.insert("labels".into(), json!(traits.labels));
    }
    let metadata = node.metadata.as_ref().and_then(|metadata| xds_wire::json::to_json("google.protobuf.Struct", &metadata.to_bytes()).ok());
    object.insert("metadata".into(), metadata.unwrap_or_default());
    if let Some(locality) = &node.locality {
        object.insert("locality".into(), json!({"region": locality.region, "zone": locality.zone, "sub_zone": locality.sub_zone}));
    }
    let watches: BTreeMap<_, Vec<&str>> =
        connection.types.iter().map(|of| (of.kind.url(), of.names.iter().map(|name| &**name).collect())).collect();
    object.insert("watches".into(), json!(watches));
    fields
}

impl SyncStatus {
    fn of(connection: &ConnectionStatus) -> Self {
        let mut nonces = BTreeMap::new();
        for of in &connection.types {
            let Some(word) = word(of.kind) else { continue };
            nonces.extend(nonce(&of.sent).map(|nonce| (format!("{word}_sent"), nonce)));
            nonces.extend(nonce(&of.acknowledged).map(|nonce| (format!("{word}_acked"), nonce)));
        }
        Self {
            cluster_id: connection.cluster_id.clone(),
            proxy: name_of(connection).to_string(),
            proxy_type: connection.node.id.split('~').next().unwrap_or_default().to_string(),
            istio_version: connection.istio_version.clone(),
            nonces,
            resources: connection.types.iter().map(|of| (of.kind.url(), ResourceStatus::of(of))).collect(),
        }
    }
}

impl ResourceStatus {
    fn of(status: &TypeStatus) -> Self {
        Self {
            sent: nonce(&status.sent),
            acked: nonce(&status.acknowledged),
            sent_time: status.sent.as_ref().map(|sent| rfc3339(sent.at)),
            last_error: status.error.as_ref().map(ToString::to_string),
        }
    }
}

fn nonce(response: &Option<ResponseStatus>) -> Option<String> {
    response.as_ref().map(|response| response.nonce.to_string())
}

/// The word that the fields of a type begin with; Istio has none for secrets and roots.
fn word(kind: ResourceType) -> Option<&'static str> {
    match kind {
        ResourceType::Cluster => Some("cluster"),
        ResourceType::Endpoint => Some("endpoint"),
        ResourceType::Listener => Some("listener"),
        ResourceType::Route => Some("route"),
        ResourceType::VirtualHost | ResourceType::Secret | ResourceType::ProxyConfig => None,
    }
}

/// JSON of what always has one.
pub fn encode(value: impl Serialize) -> Answer {
    serde_json::to_value(value).map_err(|error| Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, message: error.to_string() })
}
