//! Virtual hosts: routes under domain names, and those for requests that belong to no host of the mesh.

use super::{action::set_timeout, default_route::every_request, direct_response::status_only, names};
use crate::cluster::DYNAMIC_DNS_CLUSTER;
use base::PortNumber;
use bytes::Bytes;
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint};
use xds_api::{
    Wire,
    envoy::config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
    envoy::config::route::v3::{
        Route, RouteAction, VirtualHost, route::Action, route_action::ClusterSpecifier, virtual_host::TlsRequirementType,
    },
    google::protobuf::Duration,
};

/// What an outbound or gateway virtual host depends on.
#[derive(Clone, PartialEq, Debug)]
pub struct VirtualHostInputs {
    /// The host that gives the name.
    pub host: String,
    /// The port that gives the name.
    pub port: PortNumber,
    /// Every spelling of the host; no domain may stand in two virtual hosts of a route configuration.
    pub domains: Vec<String>,
    /// In the order of their evaluation.
    pub routes: Vec<Route>,
    /// Whether attempts are counted in a header (`proxyHeaders.attemptCount` may say no).
    pub counts_attempts: bool,
    /// Whether plain-text requests are redirected to https (`tls.httpsRedirect` of a gateway's server).
    pub https_redirect: bool,
    /// Whether clients are told that they may come over HTTP/3 to the same port.
    pub offers_http3: bool,
}

/// A virtual host, which by default counts attempts in the header `x-envoy-attempt-count`.
pub fn virtual_host(inputs: VirtualHostInputs) -> VirtualHost {
    let require_tls = if inputs.https_redirect { TlsRequirementType::All } else { TlsRequirementType::None };
    VirtualHost {
        name: names::virtual_host(&inputs.host, inputs.port),
        domains: inputs.domains,
        routes: inputs.routes,
        require_tls: require_tls.into(),
        include_request_attempt_count: inputs.counts_attempts,
        response_headers_to_add: inputs.offers_http3.then(|| alternative_service(inputs.port)).into_iter().collect(),
        ..Default::default()
    }
}

/// `alt-svc` (RFC 7838), good for a day.
fn alternative_service(port: PortNumber) -> HeaderValueOption {
    let header = HeaderValue { key: "alt-svc".to_owned(), value: format!("h3=\":{port}\"; ma=86400"), ..HeaderValue::default() };
    HeaderValueOption {
        header: Some(header),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

/// Requests for unknown hosts go to `cluster`: the pass-through cluster, or that of the egress proxy.
pub fn allow_any(cluster: &str) -> VirtualHost {
    catch_all("allow_any", forward_to(cluster))
}

/// Requests for unknown hosts go where DNS says (`ALLOW_ANY_DYNAMIC_DNS`).
pub fn allow_any_dynamic_dns() -> VirtualHost {
    catch_all("allow_any_dynamic_dns", forward_to(DYNAMIC_DNS_CLUSTER))
}

fn forward_to(cluster: &str) -> Action {
    let mut action = RouteAction { cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_string())), ..Default::default() };
    set_timeout(&mut action, Duration::default());
    Action::Route(action)
}

/// Requests for unknown hosts are answered with status 502 (`REGISTRY_ONLY`).
pub fn block_all() -> VirtualHost {
    catch_all("block_all", Action::DirectResponse(status_only(502)))
}

/// A gateway's port without routes: every request is answered with 404.
pub fn blackhole(port: PortNumber) -> VirtualHost {
    VirtualHost { name: format!("blackhole:{port}"), domains: vec!["*".to_string()], ..Default::default() }
}

/// Requests for hosts of another server of a gateway's port, which came over a connection of this one: the client shall make
/// a connection of their own (RFC 9110 §15.5.20).
pub fn misdirected(port: PortNumber, domains: Vec<String>) -> VirtualHost {
    VirtualHost {
        name: format!("misdirected:{port}"),
        domains,
        routes: vec![every_request("misdirected", Action::DirectResponse(status_only(421)), None)],
        ..Default::default()
    }
}

fn catch_all(name: &str, action: Action) -> VirtualHost {
    VirtualHost {
        name: name.to_string(),
        domains: vec!["*".to_string()],
        routes: vec![every_request(name, action, None)],
        include_request_attempt_count: true,
        ..Default::default()
    }
}

/// `RouteConfiguration.virtual_hosts`
const VIRTUAL_HOSTS_FIELD: u32 = 2;

/// One element of the field `virtual_hosts` of a RouteConfiguration, tag and length included, so that a route
/// configuration is put together without decoding its virtual hosts.
pub fn encode_virtual_host(virtual_host: &VirtualHost) -> Bytes {
    element(VIRTUAL_HOSTS_FIELD, &[&virtual_host.to_bytes()])
}

/// The same of a virtual host whose routes are encoded already, by [`encode_routes`]; `virtual_host` has none.
pub fn encode_virtual_host_with(mut virtual_host: VirtualHost, routes: &[u8]) -> Bytes {
    // In the order of the field numbers: the name (1), the domains (2), the routes (3), the rest.
    let head = VirtualHost {
        name: std::mem::take(&mut virtual_host.name),
        domains: std::mem::take(&mut virtual_host.domains),
        ..VirtualHost::default()
    };
    element(VIRTUAL_HOSTS_FIELD, &[&head.to_bytes(), routes, &virtual_host.to_bytes()])
}

/// The virtual host in a chunk that one of the above has made.
pub fn decode_virtual_host(chunk: &Bytes) -> Option<VirtualHost> {
    let mut rest = chunk.clone();
    decode_varint(&mut rest).and_then(|_| decode_varint(&mut rest)).ok()?;
    VirtualHost::from_bytes(&rest).ok()
}

/// The elements of the field `routes` of a VirtualHost, tags and lengths included.
pub fn encode_routes(routes: &[Route]) -> Bytes {
    VirtualHost { routes: routes.to_vec(), ..VirtualHost::default() }.to_bytes()
}

fn element(field: u32, chunks: &[&[u8]]) -> Bytes {
    let length: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    encode_key(field, WireType::LengthDelimited, &mut out);
    encode_varint(length as u64, &mut out);
    chunks.iter().for_each(|chunk| out.extend_from_slice(chunk));
    out.into()
}
