//! Route configurations: virtual hosts under the name by which listeners refer to them.

use super::{
    default_route::{InboundRouteInputs, inbound_route},
    names,
};
use bytes::Bytes;
use xds_api::{
    Wire,
    envoy::config::route::v3::{RouteConfiguration, VirtualHost},
};

/// The largest body of a direct response: Envoy would allow 4 KiB only.
const MAX_DIRECT_RESPONSE_BODY_SIZE_BYTES: u32 = 1024 * 1024;

/// What a route configuration that is served (RDS) depends on.
#[derive(Clone, Copy, Debug)]
pub struct RouteConfigurationInputs<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether a port in the Host header is ignored, so that domains carry none. True everywhere but on listeners of an
    /// HTTP proxy port and of Unix sockets, where the header says which port is meant.
    pub ignore_port_in_host_matching: bool,
}

/// The encoded route configuration: what stands before its virtual hosts, and what stands behind them. Between the two come
/// the chunks that [`super::encode_virtual_host`] makes.
pub fn route_configuration(inputs: &RouteConfigurationInputs<'_>) -> (Bytes, Bytes) {
    // In the order of the field numbers: the name (1), the virtual hosts (2), the rest (7 and up).
    let head = RouteConfiguration { name: inputs.name.to_string(), ..Default::default() };
    let tail = RouteConfiguration {
        // A cluster that does not exist yet must not keep the routes from being used.
        validate_clusters: Some(false.into()),
        max_direct_response_body_size_bytes: Some(MAX_DIRECT_RESPONSE_BODY_SIZE_BYTES.into()),
        ignore_port_in_host_matching: inputs.ignore_port_in_host_matching,
        ..Default::default()
    };
    (head.to_bytes(), tail.to_bytes())
}

/// The route configuration within an inbound filter chain, named after its cluster: one virtual host for every name, one
/// route.
pub fn inbound_route_configuration(inputs: &InboundRouteInputs<'_>) -> RouteConfiguration {
    let virtual_host = VirtualHost {
        name: names::inbound_virtual_host(inputs.service_port),
        domains: vec!["*".to_string()],
        routes: vec![inbound_route(inputs)],
        ..Default::default()
    };
    RouteConfiguration {
        name: inputs.cluster.to_string(),
        virtual_hosts: vec![virtual_host],
        validate_clusters: Some(false.into()),
        ..Default::default()
    }
}

/// A route configuration of one virtual host within an outbound filter chain.
pub fn inline_route_configuration(name: &str, virtual_host: VirtualHost) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_string(),
        virtual_hosts: vec![virtual_host],
        validate_clusters: Some(false.into()),
        max_direct_response_body_size_bytes: Some(MAX_DIRECT_RESPONSE_BODY_SIZE_BYTES.into()),
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}
