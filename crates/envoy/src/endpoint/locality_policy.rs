//! Weights and priorities of localities (Istio's `loadbalancer.ApplyLocalityLoadBalancer`).

use super::assignment::{LocalityGroup, sum_of_weights};
use base::{Labels, Locality};
use istio_api::networking::destination_rule::{Distribute, Failover, LocalityLoadBalancerSetting};
use std::collections::{BTreeMap, BTreeSet};

/// The client for which endpoints are ordered.
#[derive(Clone, Copy, Debug)]
pub struct LocalityClient<'a> {
    /// Where it runs.
    pub locality: &'a Locality,
    /// Its labels, with Istio's topology labels filled in.
    pub labels: &'a Labels,
}

/// Which endpoints a Service prefers (`trafficDistribution` and its annotation).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum TrafficDistribution {
    /// None.
    #[default]
    Any,
    /// Those of the client's zone (also `PreferClose`).
    PreferSameZone,
    /// Those of the client's node.
    PreferSameNode,
}

/// The setting that holds for a service, after the choice between rule, Service and mesh.
#[derive(Clone, PartialEq, Debug)]
pub struct LocalityPolicy {
    /// The setting.
    pub setting: LocalityLoadBalancerSetting,
    /// Whether priorities hold even without outlier detection, which a Service's own preference does.
    pub force_failover: bool,
}

/// Chooses the setting (Istio's `GetLocalityLbSetting`): that of the rule even if it only turns locality off, else the
/// Service's, else the mesh's. `None` means that localities do not matter.
pub fn locality_policy(
    mesh: Option<&LocalityLoadBalancerSetting>,
    rule: Option<&LocalityLoadBalancerSetting>,
    service: TrafficDistribution,
) -> Option<LocalityPolicy> {
    let given = |setting: &LocalityLoadBalancerSetting| LocalityPolicy { setting: setting.clone(), force_failover: false };
    if let Some(rule) = rule {
        return (rule.enabled != Some(false)).then(|| given(rule));
    }
    let preference: &[&str] = match service {
        TrafficDistribution::Any => return mesh.filter(|mesh| mesh.enabled != Some(false)).map(given),
        TrafficDistribution::PreferSameZone => &SAME_ZONE,
        TrafficDistribution::PreferSameNode => &SAME_NODE,
    };
    let setting = LocalityLoadBalancerSetting {
        failover_priority: preference.iter().map(|label| (*label).to_owned()).collect(),
        enabled: Some(true),
        ..LocalityLoadBalancerSetting::default()
    };
    Some(LocalityPolicy { setting, force_failover: true })
}

const SAME_ZONE: [&str; 3] = ["topology.istio.io/network", "topology.kubernetes.io/region", "topology.kubernetes.io/zone"];
const SAME_NODE: [&str; 5] = [
    "topology.istio.io/network",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
    "kubernetes.io/hostname",
];

/// Weights or prioritises groups for a client. Failover needs outlier detection, or Envoy would never leave the first
/// priority.
pub fn apply_locality_policy(
    client: &LocalityClient<'_>,
    policy: &LocalityPolicy,
    outlier_detection: bool,
    mut groups: Vec<LocalityGroup>,
) -> Vec<LocalityGroup> {
    let setting = &policy.setting;
    if !setting.distribute.is_empty() {
        distribute(client.locality, &setting.distribute, &mut groups);
        return groups;
    }
    if !outlier_detection && !policy.force_failover {
        return groups;
    }
    let by_labels = !setting.failover_priority.is_empty();
    if by_labels && !client.labels.0.is_empty() {
        groups = groups.into_iter().flat_map(|group| split_by_labels(client.labels, &setting.failover_priority, group)).collect();
        make_dense(&mut groups);
    }
    if !by_labels || !setting.failover.is_empty() {
        fail_over(client.locality, &setting.failover, &mut groups);
        make_dense(&mut groups);
    }
    groups
}

/// Whether `locality` lies in `rule`, `region/zone/subzone` with `*` or nothing for "any".
fn lies_in(locality: &Locality, rule: &str) -> bool {
    let rule = Locality::parse(rule);
    let part = |rule: &str, own: &str| rule == "*" || rule.is_empty() || rule == own;
    (&*rule.region == "*" || rule.region == locality.region) && part(&rule.zone, &locality.zone) && part(&rule.subzone, &locality.subzone)
}

/// Gives the localities their shares by the first rule for the client's locality. A share of several localities is
/// divided by their weights; localities without a share lose their endpoints but stay listed, as in Istio.
fn distribute(client: &Locality, rules: &[Distribute], groups: &mut [LocalityGroup]) {
    let Some(rule) = rules.iter().find(|rule| lies_in(client, &rule.from)) else { return };
    let mut left: BTreeSet<usize> = (0..groups.len()).collect();
    for (to, share) in &rule.to {
        let matching = |(index, group): &(usize, &mut LocalityGroup)| left.contains(index) && lies_in(&group.locality, to);
        let mut chosen = groups.iter_mut().enumerate().filter(matching).collect::<Vec<_>>();
        let total = chosen.iter().map(|(_, group)| u64::from(group.weight.max(1))).sum::<u64>();
        for (_, group) in &mut chosen {
            let weight = (u64::from(group.weight.max(1)) * u64::from(*share)).div_ceil(total.max(1));
            if weight > 0 {
                group.weight = u32::try_from(weight).unwrap_or(u32::MAX);
            }
        }
        let chosen = chosen.into_iter().map(|(index, _)| index).collect::<BTreeSet<_>>();
        left.retain(|index| !chosen.contains(index));
    }
    for (index, group) in groups.iter_mut().enumerate() {
        if left.contains(&index) {
            group.endpoints.clear();
        }
    }
}

/// Priorities by distance: same sub-zone, zone, region; then the region to fail over to; then the rest. Priorities that
/// labels gave come first.
fn fail_over(client: &Locality, rules: &[Failover], groups: &mut [LocalityGroup]) {
    /// One more than the largest distance.
    const DISTANCES: u32 = 5;
    let target = rules.iter().find(|rule| *rule.from == *client.region).map(|rule| rule.to.as_str());
    for group in groups {
        let there = &group.locality;
        let distance = if there.region != client.region {
            if target.is_some_and(|target| target != &*there.region) { 4 } else { 3 }
        } else if there.zone != client.zone {
            2
        } else {
            u32::from(there.subzone != client.subzone)
        };
        group.priority = group.priority * DISTANCES + distance;
    }
}

/// Splits a group by how many of the labels, from the first on, an endpoint shares with the client. `key=value` compares
/// with that value in place of the client's.
fn split_by_labels(client: &Labels, labels: &[String], group: LocalityGroup) -> Vec<LocalityGroup> {
    let mut parts: BTreeMap<u32, LocalityGroup> = BTreeMap::new();
    let LocalityGroup { locality, endpoints, .. } = group;
    for endpoint in endpoints {
        let shared = labels.iter().take_while(|label| {
            let (key, wanted) = match label.split_once('=') {
                Some((key, value)) => (key, value),
                None => (label.as_str(), client.get(label).unwrap_or_default()),
            };
            endpoint.labels.get(key).unwrap_or_default() == wanted
        });
        let priority = u32::try_from(labels.len() - shared.count()).unwrap_or(u32::MAX);
        let empty = || LocalityGroup { locality: locality.clone(), weight: 0, priority, endpoints: Vec::new() };
        parts.entry(priority).or_insert_with(empty).endpoints.push(endpoint);
    }
    let weigh = |mut part: LocalityGroup| {
        part.weight = sum_of_weights(&part.endpoints);
        part
    };
    parts.into_values().map(weigh).collect()
}

/// Renumbers priorities so that none is left out, as Envoy requires.
fn make_dense(groups: &mut [LocalityGroup]) {
    let used: BTreeSet<u32> = groups.iter().map(|group| group.priority).collect();
    let ranks: BTreeMap<u32, u32> = used.into_iter().zip(0..).collect();
    for group in groups {
        group.priority = ranks.get(&group.priority).copied().unwrap_or(group.priority);
    }
}
