//! The labels of the standard metrics as Envoy's command operators, and where each comes from.
//!
//! Nothing here names a workload: what a proxy says about itself is read from its node metadata when a request ends, so
//! that all proxies share one configuration.

use super::standard_metrics::{MetricsProtocol, Reporter};

/// The namespace of dynamic metadata in which the inbound filters leave what a request says about its client.
pub const PEER_METADATA_NAMESPACE: &str = "istio.peer";
/// The key of the text `workload;namespace;canonical name;canonical revision;cluster`, there as in the metadata `istio` of
/// endpoints.
pub const WORKLOAD_METADATA_KEY: &str = "workload";

/// The metadata of endpoints and clusters.
const ISTIO_METADATA: &str = "istio";

/// A label of a metric.
pub(super) struct Label {
    pub name: String,
    /// Text and command operators.
    pub value: String,
    /// Whether an empty value is replaced by `unknown`.
    pub unknown_if_empty: bool,
}

impl Label {
    fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), unknown_if_empty: true }
    }

    fn may_be_empty(self) -> Self {
        Self { unknown_if_empty: false, ..self }
    }
}

/// Istio's labels. A workload's `app` and `version` are taken for its canonical name and revision where only these are known.
pub(super) fn standard_labels(reporter: Reporter, protocol: MetricsProtocol) -> Vec<Label> {
    let (own, peer) = match reporter {
        Reporter::Source => ("source", "destination"),
        Reporter::Destination => ("destination", "source"),
    };
    let mut labels = vec![Label::new("reporter", reporter.as_str())];
    labels.extend(own_workload(own));
    labels.extend(peer_workload(peer, reporter));
    labels.extend(principals(own, peer, reporter));
    labels.extend(destination_service(protocol));
    labels.push(Label::new("request_protocol", request_protocol(protocol)));
    labels.push(Label::new("response_flags", "%RESPONSE_FLAGS%"));
    labels.push(Label::new("connection_security_policy", security_policy(reporter)));
    if protocol == MetricsProtocol::Http {
        labels.push(Label::new("response_code", "%RESPONSE_CODE%"));
        labels.push(Label::new("grpc_response_status", "%GRPC_STATUS_NUMBER%").may_be_empty());
    }
    labels
}

/// What the proxy knows of its own workload by the node metadata that its agent sends.
fn own_workload(prefix: &str) -> [Label; 7] {
    let node = |expression: &str| cel(&format!("xds.node.metadata.{expression}"));
    let label = |key: &str, otherwise: &str| {
        let labels = "xds.node.metadata.LABELS";
        format!("('{key}' in {labels} ? {labels}['{key}'] : {otherwise})")
    };
    let canonical_name = label("service.istio.io/canonical-name", &label("app", "xds.node.metadata.WORKLOAD_NAME"));
    let canonical_revision = label("service.istio.io/canonical-revision", &label("version", "'latest'"));
    [
        Label::new(format!("{prefix}_workload"), node("WORKLOAD_NAME")),
        Label::new(format!("{prefix}_workload_namespace"), node("NAMESPACE")),
        Label::new(format!("{prefix}_app"), node("LABELS['app']")),
        Label::new(format!("{prefix}_version"), node("LABELS['version']")),
        Label::new(format!("{prefix}_canonical_service"), cel(&canonical_name)),
        Label::new(format!("{prefix}_canonical_revision"), cel(&canonical_revision)),
        Label::new(format!("{prefix}_cluster"), node("CLUSTER_ID")),
    ]
}

/// What is known of the other side: a client knows the endpoint that it chose, a server what the request says.
fn peer_workload(prefix: &str, reporter: Reporter) -> [Label; 7] {
    let text = match reporter {
        Reporter::Source => format!("xds.upstream_host_metadata.filter_metadata['{ISTIO_METADATA}']['{WORKLOAD_METADATA_KEY}']"),
        Reporter::Destination => format!("metadata.filter_metadata['{PEER_METADATA_NAMESPACE}']['{WORKLOAD_METADATA_KEY}']"),
    };
    let part = |number: u8| cel(&format!("re.extract({text}, '^([^;]*);([^;]*);([^;]*);([^;]*);(.*)$', r'\\{number}')"));
    [
        Label::new(format!("{prefix}_workload"), part(1)),
        Label::new(format!("{prefix}_workload_namespace"), part(2)),
        Label::new(format!("{prefix}_app"), part(3)),
        Label::new(format!("{prefix}_version"), part(4)),
        Label::new(format!("{prefix}_canonical_service"), part(3)),
        Label::new(format!("{prefix}_canonical_revision"), part(4)),
        Label::new(format!("{prefix}_cluster"), part(5)),
    ]
}

/// The identities in the certificates of mutual TLS.
fn principals(own: &str, peer: &str, reporter: Reporter) -> [Label; 2] {
    let (of_own, of_peer) = match reporter {
        Reporter::Source => ("%UPSTREAM_LOCAL_URI_SAN%", "%UPSTREAM_PEER_URI_SAN%"),
        Reporter::Destination => ("%DOWNSTREAM_LOCAL_URI_SAN%", "%DOWNSTREAM_PEER_URI_SAN%"),
    };
    [Label::new(format!("{own}_principal"), of_own), Label::new(format!("{peer}_principal"), of_peer)]
}

/// The service that the cluster belongs to. Clusters without service (pass-through, black hole) stand under their own name,
/// and the host that the client wanted.
fn destination_service(protocol: MetricsProtocol) -> [Label; 3] {
    let metadata = "xds.cluster_metadata.filter_metadata";
    let service = |field: &str, otherwise: &str| {
        let known = format!("has({metadata}.{ISTIO_METADATA}) && has({metadata}.{ISTIO_METADATA}.services)");
        cel(&format!("{known} ? {metadata}.{ISTIO_METADATA}.services[0].{field} : {otherwise}"))
    };
    let host = match protocol {
        MetricsProtocol::Http => "request.host",
        MetricsProtocol::Tcp => "''",
    };
    [
        Label::new("destination_service", service("host", host)),
        Label::new("destination_service_name", service("name", "xds.cluster_name")),
        Label::new("destination_service_namespace", service("namespace", "''")),
    ]
}

fn request_protocol(protocol: MetricsProtocol) -> String {
    match protocol {
        MetricsProtocol::Http => {
            let content_type = "request.headers['content-type']";
            cel(&format!("'content-type' in request.headers && {content_type}.startsWith('application/grpc') ? 'grpc' : 'http'"))
        }
        MetricsProtocol::Tcp => "tcp".to_string(),
    }
}

/// Only the server can say whether the connection was mutual TLS end to end.
fn security_policy(reporter: Reporter) -> String {
    match reporter {
        Reporter::Source => "unknown".to_string(),
        Reporter::Destination => cel("connection.mtls ? 'mutual_tls' : 'none'"),
    }
}

/// An expression that yields nothing if a field on its way is missing.
fn cel(expression: &str) -> String {
    format!("%CEL({expression})%")
}
