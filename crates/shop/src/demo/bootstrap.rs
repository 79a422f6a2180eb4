//! The bootstrap of a stock Envoy: who it is and where istiod is. Everything else it asks istiod for.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::pod::{Pod, Proxy};

/// The name of the static cluster through which an Envoy reaches istiod, as in Istio's own bootstrap.
pub const XDS_CLUSTER: &str = "xds-grpc";

/// The bootstrap of the Envoy beside `pod`, for an istiod at `istiod`.
///
/// The metadata has no `ISTIO_VERSION`: no agent runs here and nobody hands out certificates, so istiod must leave out
/// whatever needs one. `INTERCEPTION_MODE: NONE` says that nothing redirects traffic into this Envoy.
pub fn bootstrap(pod: &Pod, istiod: SocketAddr) -> Value {
    let Pod { name, namespace, address, .. } = pod;
    let kind = if pod.proxy == Proxy::Router { "router" } else { "sidecar" };
    json!({
        "node": {
            "id": format!("{kind}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("{}.{namespace}", pod.app()),
            "metadata": {
                "CLUSTER_ID": "Kubernetes",
                "INSTANCE_IPS": address.to_string(),
                "INTERCEPTION_MODE": "NONE",
                "LABELS": pod.labels,
                "NAME": name,
                "NAMESPACE": namespace,
                "SERVICE_ACCOUNT": pod.service_account,
                "WORKLOAD_NAME": name,
            },
        },
        "admin": { "address": socket_address(pod.admin()) },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": {
                    "cluster_name": XDS_CLUSTER,
                    // Envoy would wait up to 30 s before it tries again; somebody is watching.
                    "retry_policy": { "retry_back_off": { "base_interval": "0.2s", "max_interval": "1s" } },
                } }],
            },
            "cds_config": { "ads": {}, "resource_api_version": "V3" },
            "lds_config": { "ads": {}, "resource_api_version": "V3" },
        },
        "static_resources": { "clusters": [{
            "name": XDS_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} },
                },
            },
            "load_assignment": {
                "cluster_name": XDS_CLUSTER,
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket_address(istiod) } }] }],
            },
        }] },
    })
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
