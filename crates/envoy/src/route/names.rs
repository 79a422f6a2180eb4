//! The names by which listeners, routes, clusters and statistics refer to one another; users see them in every tool, so
//! they are Istio's (`pkg/config/... BuildSubsetKey`, `pilot/pkg/networking/util`).

use base::PortNumber;

pub use crate::cluster::{BLACK_HOLE_CLUSTER, INBOUND_PASSTHROUGH_CLUSTER, PASSTHROUGH_CLUSTER};

/// The cluster of destinations without a host, which only invalid Gateway API back ends have.
pub const UNKNOWN_SERVICE_CLUSTER: &str = "UnknownService";
/// The name of routes that no user wrote.
pub const DEFAULT_ROUTE: &str = "default";
/// The route configuration of a sidecar's HTTP proxy port.
pub const HTTP_PROXY_ROUTE_CONFIGURATION: &str = "http_proxy";

/// `outbound|<port>|<subset>|<hostname>`; an empty subset is the whole service.
pub fn outbound_cluster(port: PortNumber, subset: &str, hostname: &str) -> String {
    format!("outbound|{port}|{subset}|{hostname}")
}

/// `inbound|<target port>||`, also the name of the inline route configuration in front of it.
pub fn inbound_cluster(target_port: PortNumber) -> String {
    format!("inbound|{target_port}||")
}

/// `outbound_.<port>_.<subset>_.<hostname>`: the default server name of mutual TLS between clusters, and the clusters of
/// gateways that pass TLS through by it.
pub fn sni(port: PortNumber, subset: &str, hostname: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{hostname}")
}

/// `<host>:<port>`, the name of an outbound virtual host.
pub fn virtual_host(host: &str, port: PortNumber) -> String {
    format!("{host}:{port}")
}

/// `inbound|http|<service port>`, the name of an inbound virtual host.
pub fn inbound_virtual_host(service_port: PortNumber) -> String {
    format!("inbound|http|{service_port}")
}

/// `<port>`, the route configuration that all HTTP services of a port share at a sidecar.
pub fn port_route_configuration(port: PortNumber) -> String {
    port.to_string()
}

/// `<hostname>:<port>`, the route configuration of a service whose protocol is sniffed.
pub fn service_route_configuration(hostname: &str, port: PortNumber) -> String {
    format!("{hostname}:{port}")
}

/// `http.<port>[.<bind>]`, the route configuration of a gateway's plain-text servers on a port.
pub fn gateway_http_route_configuration(port: PortNumber, bind: Option<&str>) -> String {
    with_bind(format!("http.{port}"), bind)
}

/// `https.<port>.<port name>.<gateway>.<namespace>[.<bind>]`, the route configuration of one TLS server of a gateway.
pub fn gateway_https_route_configuration(port: PortNumber, port_name: &str, gateway: &str, namespace: &str, bind: Option<&str>) -> String {
    with_bind(format!("https.{port}.{port_name}.{gateway}.{namespace}"), bind)
}

fn with_bind(name: String, bind: Option<&str>) -> String {
    match bind {
        Some(bind) if !bind.is_empty() => format!("{name}.{bind}"),
        _ => name,
    }
}
