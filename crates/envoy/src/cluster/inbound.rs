//! The cluster of a port of the workload itself.

use super::draft::ClusterDraft;
use super::fixed::passthrough_bind;
use super::inputs::{ClusterMeshDefaults, IpFamilies, ServiceMetadata};
use super::{connection_pool, metadata};
use crate::endpoint::socket_address;
use base::{Address, PortNumber, Protocol};
use istio_api::networking::destination_rule::ConnectionPoolSettings;
use std::collections::BTreeMap;
use xds_api::envoy::config::cluster::v3::{
    Cluster,
    cluster::{CommonLbConfig, DiscoveryType, LbPolicy},
};
use xds_api::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier};
use xds_api::google::protobuf::Duration as EnvoyDuration;

/// Where the workload listens.
#[derive(Clone, Copy, Debug)]
pub enum InboundEndpoint<'a> {
    /// On the address that the client asked for.
    OriginalDst,
    /// On this address (a Sidecar's `defaultEndpoint`, or local host by policy of the mesh); a Unix socket has no port.
    Static(&'a Address, PortNumber),
}

/// All that an inbound cluster depends on.
#[derive(Clone, Copy, Debug)]
pub struct InboundClusterInputs<'a> {
    /// `inbound|8080||`
    pub name: &'a str,
    /// The name in statistics, if `inboundClusterStatName` of the mesh asks for another.
    pub stat_name: Option<&'a str>,
    /// What the port speaks.
    pub protocol: Protocol,
    /// Where the workload listens.
    pub endpoint: InboundEndpoint<'a>,
    /// The only part of a DestinationRule that holds on this side, or that of the Sidecar, which wins.
    pub connection_pool: Option<&'a ConnectionPoolSettings>,
    /// The mesh's settings.
    pub mesh: &'a ClusterMeshDefaults,
    /// The IP families of the proxy.
    pub families: IpFamilies,
    /// `proxyHeaders.preserveHttp1HeaderCase`
    pub preserves_header_case: bool,
    /// The services of the port, sorted by host name.
    pub services: &'a [ServiceMetadata<'a>],
}

/// As long as Envoy's clock reaches: endpoints of the workload itself never go away.
const NEVER: EnvoyDuration = EnvoyDuration { seconds: 9_223_372_035, nanos: 0 };

/// Makes the cluster (Istio's `buildInboundCluster`).
pub fn inbound_cluster(inputs: &InboundClusterInputs<'_>) -> Cluster {
    let discovery = match inputs.endpoint {
        InboundEndpoint::OriginalDst => DiscoveryType::OriginalDst,
        InboundEndpoint::Static(..) => DiscoveryType::Static,
    };
    let mut draft = ClusterDraft::new(inputs.name, inputs.stat_name, discovery, inputs.mesh.connect_timeout);
    draft.cluster.common_lb_config = Some(CommonLbConfig::default());
    if inputs.protocol.is_http2() {
        draft.use_http2();
    } else if inputs.protocol.is_unsupported() {
        draft.use_client_protocol();
    }
    connection_pool::apply(&mut draft, inputs.mesh, inputs.connection_pool, None);
    if inputs.connection_pool.and_then(|pool| pool.http.as_ref()).is_some_and(|http| http.use_client_protocol) {
        draft.use_client_protocol();
    }
    if inputs.preserves_header_case {
        draft.preserve_header_case(inputs.protocol);
    }
    let cluster = &mut draft.cluster;
    match inputs.endpoint {
        InboundEndpoint::OriginalDst => {
            cluster.lb_policy = LbPolicy::ClusterProvided.into();
            cluster.cleanup_interval = Some(NEVER);
        }
        InboundEndpoint::Static(address, port) => cluster.load_assignment = Some(assignment(inputs.name, address, port)),
    }
    if !is_local(inputs.endpoint) {
        cluster.upstream_bind_config = Some(passthrough_bind(inputs.families));
    }
    if !inputs.services.is_empty() {
        cluster.metadata = metadata::istio(BTreeMap::from([("services".to_owned(), metadata::services(inputs.services))]));
    }
    draft.finish()
}

/// Whether traffic rules leave connections to the endpoint alone, so that they need no special source address.
fn is_local(endpoint: InboundEndpoint<'_>) -> bool {
    matches!(endpoint, InboundEndpoint::Static(Address::Ip(ip), _) if ip.is_loopback())
}

fn assignment(cluster: &str, address: &Address, port: PortNumber) -> ClusterLoadAssignment {
    let endpoint = Endpoint { address: Some(socket_address(address, port)), ..Endpoint::default() };
    let endpoint = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    }
}
