//! An Envoy node becomes [`ProxyTraits`]: the only place that reads node metadata.

use base::{ClusterId, Labels, Locality, Namespace, NetworkId};
use model::{CertificateFiles, Certificates, InterceptionMode, ProxyKind, ProxyTraits};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};
use xds_api::Wire;
use xds_api::envoy::config::core::v3::Node;
use xds_api::google::protobuf::{Struct, Value, value::Kind};

/// Our own agent sets this key; an Envoy without it and without `ISTIO_VERSION` has no SDS socket.
const AGENT_MARK: &str = "ISTIOD_AGENT";

/// Why a node cannot be served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeError(pub String);

/// Parses a node id `<type>~<ip>~<name>.<namespace>~<domain>` and the metadata that Istio's agents send. Metadata of a
/// wrong type counts as absent; only an id that cannot be split, or a type that is not served, is refused.
pub fn parse_node(node: &Node) -> Result<ProxyTraits, NodeError> {
    let parts: Vec<&str> = node.id.split('~').collect();
    let [kind, ip, name, domain] = parts.as_slice() else {
        return Err(NodeError(format!("the node id {:?} is not <type>~<ip>~<name>.<namespace>~<domain>", clip(&node.id))));
    };
    let kind = match *kind {
        "sidecar" => ProxyKind::Sidecar,
        "router" => ProxyKind::Router,
        other => return Err(NodeError(format!("proxies of type {:?} are not served; use sidecar or router", clip(other)))),
    };
    let metadata = Metadata(node.metadata.as_ref());
    let namespace = match metadata.text("NAMESPACE") {
        "" => name.rsplit_once('.').map(|(_, namespace)| namespace).unwrap_or_default(),
        namespace => namespace,
    };
    let interception = match metadata.text("INTERCEPTION_MODE") {
        "TPROXY" => InterceptionMode::Tproxy,
        "NONE" => InterceptionMode::None,
        _ => InterceptionMode::Redirect,
    };
    let version = metadata.text("ISTIO_VERSION");
    let agent = !version.is_empty() || !metadata.text(AGENT_MARK).is_empty();
    let locality = node.locality.as_ref().map(|locality| Locality {
        region: Arc::from(locality.region.as_str()),
        zone: Arc::from(locality.zone.as_str()),
        subzone: Arc::from(locality.sub_zone.as_str()),
    });
    Ok(ProxyTraits {
        id: Arc::from(node.id.as_str()),
        kind,
        namespace: Namespace::new(namespace),
        dns_domain: Arc::from(*domain),
        addresses: addresses(metadata.text("INSTANCE_IPS"), ip),
        labels: metadata.labels(),
        cluster: ClusterId::new(metadata.text("CLUSTER_ID")),
        network: NetworkId::new(metadata.text("NETWORK")),
        network_view: split(metadata.text("REQUESTED_NETWORK_VIEW")).map(NetworkId::new).collect(),
        refuses_hbone: metadata.flag("DISABLE_HBONE_SEND"),
        locality: locality.unwrap_or_default(),
        discovers_itself: metadata.flag("ENABLE_SELF_DISCOVERY"),
        node: Arc::from(metadata.text("NODE_NAME")),
        interception,
        certificates: if agent { Certificates::Sds } else { Certificates::None },
        server_files: metadata.files("TLS_SERVER_CERT_CHAIN", "TLS_SERVER_KEY", "TLS_SERVER_ROOT_CERT"),
        client_files: metadata.files("TLS_CLIENT_CERT_CHAIN", "TLS_CLIENT_KEY", "TLS_CLIENT_ROOT_CERT"),
        version: Arc::from(version),
        http10: metadata.text("HTTP10") == "1",
        idle_timeout: Arc::from(metadata.text("IDLE_TIMEOUT")),
        proxy_config: metadata.proxy_config(),
        external_credentials: metadata.flag("credential"),
        inbound_exact_balance: metadata.flag("INBOUND_LISTENER_EXACT_BALANCE"),
        outbound_exact_balance: metadata.flag("OUTBOUND_LISTENER_EXACT_BALANCE"),
        http_proxy_port: metadata.text("HTTP_PROXY_PORT").parse().unwrap_or_default(),
        unprivileged: metadata.flag("UNPRIVILEGED_POD"),
        dns_capture: metadata.flag("DNS_CAPTURE"),
        service_account: Arc::from(metadata.text("SERVICE_ACCOUNT")),
        workload: Arc::from(metadata.text("WORKLOAD_NAME")),
    })
}

/// What a peer may make us repeat to it.
fn clip(text: &str) -> &str {
    text.char_indices().nth(80).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

/// The parts of a list with commas.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `INSTANCE_IPS`, else the address of the node id.
fn addresses(instance_ips: &str, id: &str) -> Vec<IpAddr> {
    let listed: Vec<IpAddr> = split(instance_ips).filter_map(|text| text.parse().ok()).collect();
    if listed.is_empty() { id.parse().into_iter().collect() } else { listed }
}

struct Metadata<'a>(Option<&'a Struct>);

impl<'a> Metadata<'a> {
    fn kind(&self, key: &str) -> Option<&'a Kind> {
        self.0?.fields.get(key)?.kind.as_ref()
    }

    fn text(&self, key: &str) -> &'a str {
        match self.kind(key) {
            Some(Kind::StringValue(text)) => text,
            _ => "",
        }
    }

    /// None without a certificate and its key.
    fn files(&self, certificate: &str, key: &str, authorities: &str) -> Option<CertificateFiles> {
        let [certificate, key, authorities] = [certificate, key, authorities].map(|name| Arc::<str>::from(self.text(name)));
        (!certificate.is_empty() && !key.is_empty()).then_some(CertificateFiles { certificate, key, authorities })
    }

    /// Istio's `StringBool`: "true" as text, or a real boolean.
    fn flag(&self, key: &str) -> bool {
        match self.kind(key) {
            Some(Kind::BoolValue(value)) => *value,
            _ => matches!(self.text(key), "true" | "1"),
        }
    }

    /// Of the proxy's effective ProxyConfig what its listeners depend on, so that proxies that differ in the rest are alike.
    fn proxy_config(&self) -> Option<Arc<str>> {
        let Some(Kind::StructValue(config)) = self.kind("PROXY_CONFIG") else { return None };
        let used = |key: &str| matches!(key, "gatewayTopology" | "proxyHeaders" | "connectionSettings");
        let kept = config.fields.iter().filter(|(key, _)| used(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
        let json = xds_wire::json::to_json("google.protobuf.Struct", &Struct { fields: kept }.to_bytes()).ok()?;
        Some(Arc::from(json.to_string()))
    }

    fn labels(&self) -> Labels {
        let Some(Kind::StructValue(labels)) = self.kind("LABELS") else {
            return Labels::default();
        };
        let text = |value: &Value| match &value.kind {
            Some(Kind::StringValue(text)) => Some(text.clone()),
            _ => None,
        };
        let pairs: BTreeMap<String, String> = labels.fields.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect();
        Labels::from(pairs)
    }
}
