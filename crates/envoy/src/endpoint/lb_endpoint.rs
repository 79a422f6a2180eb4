//! One endpoint as it stands in an assignment.

use base::{Address, PortNumber};
use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint};
use std::{collections::BTreeMap, net::IpAddr};
use xds_api::Wire;
use xds_api::envoy::config::core::v3::{
    Address as EnvoyAddress, EnvoyInternalAddress, HealthStatus, Metadata, Pipe, SocketAddress, address,
    envoy_internal_address::AddressNameSpecifier, socket_address::PortSpecifier,
};
use xds_api::envoy::config::endpoint::v3::{Endpoint, LbEndpoint, endpoint::AdditionalAddress, lb_endpoint::HostIdentifier};
use xds_api::google::protobuf::Struct;

/// Whether an endpoint may get traffic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum EndpointHealth {
    /// Nothing is known, as for endpoints of ServiceEntries without a probe; Envoy uses it.
    #[default]
    Unknown,
    /// Ready.
    Healthy,
    /// Not ready; Envoy uses it only in panic.
    Unhealthy,
    /// On its way out; only persistent sessions still use it.
    Draining,
}

/// What the endpoint speaks, as far as the cluster's transport socket matches look at it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum TlsMode {
    /// Plain text, or TLS that does not depend on the endpoint.
    #[default]
    Disabled,
    /// Mesh mTLS.
    Istio,
}

/// An endpoint that is reached through HBONE.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tunnel {
    /// The `address:port` of the endpoint behind the tunnel.
    pub target: String,
    /// The `address:port` of the waypoint, if the tunnel ends there.
    pub waypoint: Option<String>,
    /// Whether the cluster chooses the tunnel's transport socket by the endpoint (sidecars and gateways; waypoints have
    /// only the one).
    pub transport_socket_match: bool,
}

/// All that an encoded endpoint depends on.
#[derive(Clone, Copy, Debug)]
pub struct EndpointInputs<'a> {
    /// Where it is.
    pub address: &'a Address,
    /// On which port; without meaning for Unix sockets.
    pub port: PortNumber,
    /// Further addresses of the same endpoint, for dual-stack clients.
    pub additional_addresses: &'a [IpAddr],
    /// Whether it may get traffic.
    pub health: EndpointHealth,
    /// Its share; 0 counts as 1.
    pub weight: u32,
    /// What it speaks.
    pub tls_mode: TlsMode,
    /// `<workload>;<namespace>;<canonical name>;<canonical revision>;<cluster>`, for metrics and logs; empty for none.
    pub workload: &'a str,
    /// Set if it is reached through HBONE.
    pub tunnel: Option<&'a Tunnel>,
}

/// The internal listener of HBONE, which encapsulates.
const TUNNEL_LISTENER: &str = "connect_originate";

/// The field `lb_endpoints` of `LocalityLbEndpoints` (`endpoint_components.proto`).
const LB_ENDPOINTS_FIELD: u32 = 2;

/// The endpoint as one element of the field `lb_endpoints` of a locality: tag, length and message.
pub fn encode_lb_endpoint(inputs: &EndpointInputs<'_>) -> Bytes {
    element(LB_ENDPOINTS_FIELD, &lb_endpoint(inputs).to_bytes())
}

/// A message as an element of a repeated field.
pub(super) fn element(field: u32, message: &[u8]) -> Bytes {
    let mut buffer = Vec::with_capacity(message.len() + 6);
    encode_key(field, WireType::LengthDelimited, &mut buffer);
    encode_varint(message.len() as u64, &mut buffer);
    buffer.extend_from_slice(message);
    buffer.into()
}

fn lb_endpoint(inputs: &EndpointInputs<'_>) -> LbEndpoint {
    let address = match inputs.tunnel {
        Some(tunnel) => internal_address(TUNNEL_LISTENER, tunnel.waypoint.as_deref().unwrap_or(&tunnel.target)),
        None => socket_address(inputs.address, inputs.port),
    };
    let additional = inputs.additional_addresses.iter().filter(|_| inputs.tunnel.is_none());
    let endpoint = Endpoint {
        address: Some(address),
        additional_addresses: additional
            .map(|ip| AdditionalAddress { address: Some(socket_address(&Address::Ip(*ip), inputs.port)) })
            .collect(),
        ..Endpoint::default()
    };
    let health = match inputs.health {
        EndpointHealth::Unknown => HealthStatus::Unknown,
        EndpointHealth::Healthy => HealthStatus::Healthy,
        EndpointHealth::Unhealthy => HealthStatus::Unhealthy,
        EndpointHealth::Draining => HealthStatus::Draining,
    };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
        health_status: health.into(),
        metadata: metadata(inputs),
        load_balancing_weight: Some(inputs.weight.max(1).into()),
    }
}

/// `address` and `port` in Envoy's form.
pub(crate) fn socket_address(address: &Address, port: PortNumber) -> EnvoyAddress {
    let address = match address {
        Address::Unix(path) => address::Address::Pipe(Pipe { path: path.to_string(), ..Pipe::default() }),
        other => address::Address::SocketAddress(SocketAddress {
            address: other.to_string(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        }),
    };
    EnvoyAddress { address: Some(address) }
}

/// A listener of the same Envoy; `endpoint_id` tells endpoints behind it apart.
fn internal_address(listener: &str, endpoint_id: &str) -> EnvoyAddress {
    EnvoyAddress {
        address: Some(address::Address::EnvoyInternalAddress(EnvoyInternalAddress {
            address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(listener.to_owned())),
            endpoint_id: endpoint_id.to_owned(),
        })),
    }
}

/// Istio's metadata of an endpoint: which transport socket it needs, where its tunnel ends and whose it is.
fn metadata(inputs: &EndpointInputs<'_>) -> Option<Metadata> {
    let mut filters = BTreeMap::new();
    let mut add = |filter: &str, fields: Struct| filters.insert(filter.to_owned(), fields);
    if let Some(tunnel) = inputs.tunnel {
        let mut target = vec![("local", tunnel.target.as_str())];
        target.extend(tunnel.waypoint.as_deref().map(|waypoint| ("waypoint", waypoint)));
        add("envoy.filters.listener.original_dst", Struct::from_iter(target));
    }
    let socket_match = match (inputs.tunnel, inputs.tls_mode) {
        (Some(tunnel), _) => tunnel.transport_socket_match.then_some(("tunnel", "http")),
        (None, TlsMode::Istio) => Some(("tlsMode", "istio")),
        (None, TlsMode::Disabled) => None,
    };
    if let Some(field) = socket_match {
        add("envoy.transport_socket_match", Struct::from_iter([field]));
    }
    if !inputs.workload.is_empty() {
        add("istio", Struct::from_iter([("workload", inputs.workload)]));
    }
    (!filters.is_empty()).then(|| Metadata { filter_metadata: filters, ..Metadata::default() })
}
