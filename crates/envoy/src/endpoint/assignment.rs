//! Endpoints grouped by locality, and the assignment of a cluster.

use super::lb_endpoint::element;
use base::{Labels, Locality};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;
use xds_api::Wire;
use xds_api::envoy::config::{
    core::v3::Locality as EnvoyLocality,
    endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints},
};

/// The field `endpoints` of `ClusterLoadAssignment` (`endpoint.proto`).
const LOCALITIES_FIELD: u32 = 2;

/// An encoded endpoint in a group, with what priorities by label look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalityEndpoint {
    /// What `encode_lb_endpoint` made.
    pub encoded: Bytes,
    /// The weight that is encoded.
    pub weight: u32,
    /// The labels of the workload, with Istio's topology labels (`topology.kubernetes.io/region`,
    /// `topology.istio.io/network`, `kubernetes.io/hostname` and so on) filled in.
    pub labels: Labels,
}

/// The endpoints of one locality and one priority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalityGroup {
    /// Where they are.
    pub locality: Locality,
    /// The share of the locality, by default the sum of its endpoints' weights; 0 is left out.
    pub weight: u32,
    /// 0 is used first; the priorities of an assignment are dense.
    pub priority: u32,
    /// The endpoints in stable order.
    pub endpoints: Vec<LocalityEndpoint>,
}

/// Groups endpoints by locality, ordered by region, zone and sub-zone; within a group they keep their order.
pub fn group_by_locality(endpoints: impl IntoIterator<Item = (Locality, LocalityEndpoint)>) -> Vec<LocalityGroup> {
    let mut groups: BTreeMap<Locality, Vec<LocalityEndpoint>> = BTreeMap::new();
    for (locality, endpoint) in endpoints {
        groups.entry(locality).or_default().push(endpoint);
    }
    let group = |(locality, endpoints): (Locality, Vec<LocalityEndpoint>)| LocalityGroup {
        locality,
        weight: sum_of_weights(&endpoints),
        priority: 0,
        endpoints,
    };
    groups.into_iter().map(group).collect()
}

pub(super) fn sum_of_weights(endpoints: &[LocalityEndpoint]) -> u32 {
    endpoints.iter().fold(0, |sum, endpoint| sum.saturating_add(endpoint.weight.max(1)))
}

/// The encoded `ClusterLoadAssignment`: the same bytes as of the whole message, put together from the encoded endpoints.
pub fn cluster_load_assignment(cluster_name: &str, groups: &[LocalityGroup]) -> Bytes {
    let name = ClusterLoadAssignment { cluster_name: cluster_name.to_owned(), ..ClusterLoadAssignment::default() }.to_bytes();
    let groups = groups.iter().map(|group| element(LOCALITIES_FIELD, &locality_lb_endpoints(group))).collect::<Vec<_>>();
    let mut buffer = BytesMut::with_capacity(name.len() + groups.iter().map(Bytes::len).sum::<usize>());
    buffer.put(name);
    groups.into_iter().for_each(|group| buffer.put(group));
    buffer.freeze()
}

/// The encoded `LocalityLbEndpoints`, its fields in the order of their numbers: locality (1), endpoints (2), weight (3) and
/// priority (5).
fn locality_lb_endpoints(group: &LocalityGroup) -> BytesMut {
    let locality = EnvoyLocality {
        region: group.locality.region.to_string(),
        zone: group.locality.zone.to_string(),
        sub_zone: group.locality.subzone.to_string(),
    };
    let head = LocalityLbEndpoints { locality: Some(locality), ..LocalityLbEndpoints::default() }.to_bytes();
    let tail = LocalityLbEndpoints {
        load_balancing_weight: (group.weight > 0).then(|| group.weight.into()),
        priority: group.priority,
        ..LocalityLbEndpoints::default()
    };
    let tail = tail.to_bytes();
    let endpoints = group.endpoints.iter().map(|endpoint| endpoint.encoded.len()).sum::<usize>();
    let mut buffer = BytesMut::with_capacity(head.len() + endpoints + tail.len());
    buffer.put(head);
    group.endpoints.iter().for_each(|endpoint| buffer.extend_from_slice(&endpoint.encoded));
    buffer.put(tail);
    buffer
}
