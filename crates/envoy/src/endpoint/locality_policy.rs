//! Weights and priorities of localities (Istio's `loadbalancer.ApplyLocalityLoadBalancer`).

use super::assignment::{LocalityGroup, sum_of_weights};
use base::{Labels, Locality};
use istio_api::networking::destination_rule::{
    Distribute, Failover, LoadBalancerSettings, LocalityLoadBalancerSetting, ZoneAwareLoadBalancerSetting,
};
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

/// What decides between localities, after the choice between rule, Service and mesh.
#[derive(Clone, PartialEq, Debug)]
pub enum LocalityPolicy {
    /// The distance to the client, or shares that somebody has written down.
    Distance(DistancePolicy),
    /// Envoy itself, by the zones of the client's own workload; regions are priorities.
    ZoneAware(ZoneAwareLoadBalancerSetting),
}

/// Priorities or shares of localities.
#[derive(Clone, PartialEq, Debug)]
pub struct DistancePolicy {
    /// The setting.
    pub setting: LocalityLoadBalancerSetting,
    /// Whether priorities hold even without outlier detection, which a Service's own preference does.
    pub force_failover: bool,
}

/// What one place says about localities.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalitySettings<'a> {
    /// `localityLbSetting`
    pub distance: Option<&'a LocalityLoadBalancerSetting>,
    /// `zoneAwareLbSetting`
    pub zone_aware: Option<&'a ZoneAwareLoadBalancerSetting>,
}

impl<'a> LocalitySettings<'a> {
    /// Those of a rule.
    pub fn of(rule: Option<&'a LoadBalancerSettings>) -> Self {
        let zone_aware = rule.and_then(|rule| rule.zone_aware_lb_setting.as_ref());
        Self { distance: rule.and_then(|rule| rule.locality_lb_setting.as_ref()), zone_aware }
    }

    fn zones(self) -> Option<LocalityPolicy> {
        self.zone_aware.filter(|setting| setting.enabled != Some(false)).cloned().map(LocalityPolicy::ZoneAware)
    }
}

/// Chooses what holds (Istio's `GetLocalityLbSetting`): the setting of the rule even if it only turns locality off, else the
/// Service's, else the mesh's, of which zone-aware balancing goes first. `None` means that localities do not matter.
pub fn locality_policy(mesh: LocalitySettings<'_>, rule: LocalitySettings<'_>, service: TrafficDistribution) -> Option<LocalityPolicy> {
    let given = |setting: &LocalityLoadBalancerSetting| {
        LocalityPolicy::Distance(DistancePolicy { setting: setting.clone(), force_failover: false })
    };
    if let Some(zones) = rule.zones() {
        return Some(zones);
    }
    if let Some(rule) = rule.distance {
        return (rule.enabled != Some(false)).then(|| given(rule));
    }
    let of_mesh = || mesh.distance.filter(|mesh| mesh.enabled != Some(false)).map(given);
    let preference: &[&str] = match service {
        // A rule that only turns zones off leaves distances on.
        TrafficDistribution::Any if rule.zone_aware.is_some() => return of_mesh(),
        TrafficDistribution::Any => return mesh.zones().or_else(of_mesh),
        TrafficDistribution::PreferSameZone => &SAME_ZONE,
        TrafficDistribution::PreferSameNode => &SAME_NODE,
    };
    let setting = LocalityLoadBalancerSetting {
        failover_priority: preference.iter().map(|label| (*label).to_owned()).collect(),
        enabled: Some(true),
        ..LocalityLoadBalancerSetting::default()
    };
    Some(LocalityPolicy::Distance(DistancePolicy { setting, force_failover: true }))
}

const SAME_ZONE: [&str; 3] = ["topology.istio.io/network", "topology.kubernetes.io/region", "topology.kubernetes.io/zone"];
const SAME_NODE: [&str; 5] = [
    "topology.istio.io/network",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
    "kubernetes.io/hostname",
];

/// Weights or prioritises groups for a client.
pub fn apply_locality_policy(
    client: &LocalityClient<'_>,
    policy: &LocalityPolicy,
    outlier_detection: bool,
    groups: Vec<LocalityGroup>,
) -> Vec<LocalityGroup> {
    match policy {
        LocalityPolicy::Distance(policy) => apply_distance(client, policy, outlier_detection, groups),
        LocalityPolicy::ZoneAware(setting) => apply_regions(client, setting, groups),
    }
}

/// Failover needs outlier detection, or Envoy would never leave the first priority.
fn apply_distance(
    client: &LocalityClient<'_>,
    policy: &DistancePolicy,
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
    if by_labels {
        groups = by_label(client, &setting.failover_priority, groups);
    }
    if !by_labels || !setting.failover.is_empty() {
        fail_over(client.locality, &setting.failover, &mut groups);
        make_dense(&mut groups);
    }
    groups
}

/// Between zones Envoy decides, so that only regions are told apart: the client's own, the one to fail over to, the others;
/// priorities that labels gave come first.
fn apply_regions(client: &LocalityClient<'_>, setting: &ZoneAwareLoadBalancerSetting, groups: Vec<LocalityGroup>) -> Vec<LocalityGroup> {
    /// One more than the last tier.
    const TIERS: u32 = 3;
    let mut groups = by_label(client, &setting.failover_priority, groups);
    let region = &client.locality.region;
    let target = setting.failover.iter().find(|rule| *rule.from == **region).map(|rule| rule.to.as_str());
    for group in &mut groups {
        let there = &group.locality.region;
        let tier = if there == region {
            0
        } else if target == Some(&**there) {
            1
        } else {
            2
        };
        group.priority = group.priority * TIERS + tier;
    }
    make_dense(&mut groups);
    groups
}

fn by_label(client: &LocalityClient<'_>, labels: &[String], groups: Vec<LocalityGroup>) -> Vec<LocalityGroup> {
    if labels.is_empty() || client.labels.is_empty() {
        return groups;
    }
    let mut groups: Vec<_> = groups.into_iter().flat_map(|group| split_by_labels(client.labels, labels, group)).collect();
    make_dense(&mut groups);
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
