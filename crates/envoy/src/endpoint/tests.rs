use super::*;
use base::{Address, Labels, Locality};
use istio_api::networking::destination_rule::{Distribute, Failover, LocalityLoadBalancerSetting, ZoneAwareLoadBalancerSetting};
use std::collections::BTreeMap;
use xds_api::{Wire, envoy::config::endpoint::v3::ClusterLoadAssignment};

fn endpoint(address: &str, weight: u32, labels: &[(&str, &str)]) -> LocalityEndpoint {
    let address = Address::parse(address);
    let inputs = EndpointInputs {
        address: &address,
        port: 8080,
        additional_addresses: &[],
        health: EndpointHealth::Healthy,
        weight,
        tls_mode: TlsMode::Istio,
        workload: "cart;shop;cart;v1;Kubernetes",
        tunnel: None,
    };
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>();
    LocalityEndpoint { encoded: encode_lb_endpoint(&inputs), weight, labels: Labels::from(labels) }
}

fn groups(places: &[(&str, u32)]) -> Vec<LocalityGroup> {
    group_by_locality(places.iter().map(|(place, weight)| (Locality::parse(place), endpoint("10.0.0.1", *weight, &[]))))
}

fn prioritised(client: &str, setting: LocalityLoadBalancerSetting, groups: Vec<LocalityGroup>) -> Vec<(String, u32, u32, usize)> {
    let labels = Labels::from(BTreeMap::from([("app".to_owned(), "cart".to_owned()), ("version".to_owned(), "v1".to_owned())]));
    let locality = Locality::parse(client);
    let client = LocalityClient { locality: &locality, labels: &labels };
    let policy = LocalityPolicy::Distance(DistancePolicy { setting, force_failover: false });
    let groups = apply_locality_policy(&client, &policy, true, groups);
    groups.into_iter().map(|group| (group.locality.to_string(), group.priority, group.weight, group.endpoints.len())).collect()
}

#[test]
fn concatenation_equals_the_encoding_of_the_whole() {
    let mut groups = groups(&[("r1/z1", 1), ("r1/z1", 2), ("r2/z1/s1", 1), ("", 1)]);
    groups.iter_mut().zip(0..).for_each(|(group, priority)| group.priority = priority);
    let bytes = cluster_load_assignment("outbound|80||cart.shop.svc.cluster.local", &groups);
    let message = ClusterLoadAssignment::from_bytes(&bytes).unwrap();
    assert_eq!(message.to_bytes(), bytes);
    assert_eq!(message.cluster_name, "outbound|80||cart.shop.svc.cluster.local");
    let shape = |index: usize| {
        let group = &message.endpoints[index];
        (group.lb_endpoints.len(), group.load_balancing_weight.map(|weight| weight.value), group.priority)
    };
    assert_eq!([shape(0), shape(1), shape(2)], [(1, Some(1), 0), (2, Some(3), 1), (1, Some(1), 2)]);
    assert_eq!(message.endpoints[0].locality, Some(Default::default()));
}

#[test]
fn an_endpoint_behind_a_tunnel_is_an_internal_address() {
    let address = Address::parse("10.0.0.1");
    let tunnel = Tunnel { target: "10.0.0.1:80".into(), waypoint: Some("10.0.0.9:15008".into()), transport_socket_match: true };
    let inputs = EndpointInputs {
        address: &address,
        port: 80,
        additional_addresses: &[],
        health: EndpointHealth::Unknown,
        weight: 0,
        tls_mode: TlsMode::Istio,
        workload: "",
        tunnel: Some(&tunnel),
    };
    let group = LocalityGroup {
        locality: Locality::default(),
        weight: 0,
        priority: 0,
        endpoints: vec![LocalityEndpoint { encoded: encode_lb_endpoint(&inputs), weight: 1, labels: Labels::default() }],
    };
    let message = ClusterLoadAssignment::from_bytes(&cluster_load_assignment("c", &[group])).unwrap();
    let text = format!("{:?}", message.endpoints);
    for part in ["connect_originate", "10.0.0.9:15008", "10.0.0.1:80", "tunnel"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("tlsMode"));
}

#[test]
fn failover_prefers_near_localities_and_leaves_no_gaps() {
    let places = [("r1/z1/s1", 1), ("r1/z2", 1), ("r2/z1", 1), ("r3/z1", 1)];
    let failover = vec![Failover { from: "r1".into(), to: "r3".into() }];
    let setting = LocalityLoadBalancerSetting { failover, ..Default::default() };
    let priorities = |client, setting| prioritised(client, setting, groups(&places)).into_iter().map(|group| group.1).collect::<Vec<_>>();
    assert_eq!(priorities("r1/z1/s1", setting), [0, 1, 3, 2]);
    assert_eq!(priorities("r1/z1/s1", Default::default()), [0, 1, 2, 2]);
    assert_eq!(priorities("r9/z1", Default::default()), [0, 0, 0, 0]);
}

#[test]
fn distribute_shares_by_weight_and_drops_the_rest() {
    let to = BTreeMap::from([("r1/*".to_owned(), 80), ("r2/*".to_owned(), 20)]);
    let setting = LocalityLoadBalancerSetting { distribute: vec![Distribute { from: "r1/z1/*".into(), to }], ..Default::default() };
    let result = prioritised("r1/z1/s1", setting, groups(&[("r1/z1", 3), ("r1/z2", 1), ("r2/z1", 5), ("r3/z1", 1)]));
    let expected = [("r1/z1", 60, 1), ("r1/z2", 20, 1), ("r2/z1", 20, 1), ("r3/z1", 1, 0)];
    assert_eq!(result, expected.map(|(place, weight, endpoints)| (place.to_owned(), 0, weight, endpoints)));
}

#[test]
fn failover_priority_splits_a_locality() {
    let place = Locality::parse("r1/z1");
    let both = [("app", "cart"), ("version", "v1")];
    let members = [endpoint("10.0.0.1", 1, &both[..1]), endpoint("10.0.0.2", 2, &both), endpoint("10.0.0.3", 4, &[])];
    let setting = LocalityLoadBalancerSetting { failover_priority: vec!["app".into(), "version".into()], ..Default::default() };
    let result = prioritised("r1/z1", setting.clone(), group_by_locality(members.clone().map(|member| (place.clone(), member))));
    assert_eq!(result.iter().map(|group| (group.1, group.2)).collect::<Vec<_>>(), [(0, 2), (1, 1), (2, 4)]);
    let override_version = LocalityLoadBalancerSetting { failover_priority: vec!["app".into(), "version=".into()], ..setting };
    let result = prioritised("r1/z1", override_version, group_by_locality(members.map(|member| (place.clone(), member))));
    assert_eq!(result.iter().map(|group| (group.1, group.2)).collect::<Vec<_>>(), [(0, 1), (1, 2), (2, 4)]);
}

#[test]
fn the_rule_wins_over_service_and_mesh() {
    let mesh = LocalityLoadBalancerSetting { enabled: Some(true), ..Default::default() };
    let off = LocalityLoadBalancerSetting { enabled: Some(false), ..Default::default() };
    let distance = |setting| LocalitySettings { distance: Some(setting), zone_aware: None };
    let none = LocalitySettings::default();
    let given = |setting: &LocalityLoadBalancerSetting| {
        Some(LocalityPolicy::Distance(DistancePolicy { setting: setting.clone(), force_failover: false }))
    };
    assert_eq!(locality_policy(distance(&mesh), distance(&off), TrafficDistribution::PreferSameNode), None);
    let by_service = locality_policy(distance(&off), none, TrafficDistribution::PreferSameZone);
    assert!(matches!(by_service, Some(LocalityPolicy::Distance(DistancePolicy { force_failover: true, .. }))));
    assert_eq!(locality_policy(distance(&off), none, TrafficDistribution::Any), None);
    assert_eq!(locality_policy(distance(&mesh), none, TrafficDistribution::Any), given(&mesh));
    // Zones go before distances, in the mesh and in a rule; a rule that turns them off leaves distances on.
    let zones = ZoneAwareLoadBalancerSetting::default();
    let no_zones = ZoneAwareLoadBalancerSetting { enabled: Some(false), ..Default::default() };
    let both = LocalitySettings { zone_aware: Some(&zones), ..distance(&mesh) };
    let zone_aware = Some(LocalityPolicy::ZoneAware(zones.clone()));
    assert_eq!(locality_policy(both, none, TrafficDistribution::Any), zone_aware);
    assert_eq!(locality_policy(both, distance(&off), TrafficDistribution::Any), None);
    let rule = LocalitySettings { distance: None, zone_aware: Some(&no_zones) };
    assert_eq!(locality_policy(both, rule, TrafficDistribution::Any), given(&mesh));
    let rule = LocalitySettings { distance: None, zone_aware: Some(&zones) };
    assert_eq!(locality_policy(none, rule, TrafficDistribution::PreferSameZone), zone_aware);
}

#[test]
fn with_zone_awareness_regions_alone_are_tiers() {
    let places = [("r1/z1", 1), ("r1/z2", 1), ("r2/z1", 1), ("r3/z1", 1)];
    let (locality, labels) = (Locality::parse("r1/z1"), Labels::default());
    let client = LocalityClient { locality: &locality, labels: &labels };
    let tiers = |failover: Vec<Failover>| {
        let policy = LocalityPolicy::ZoneAware(ZoneAwareLoadBalancerSetting { failover, ..Default::default() });
        apply_locality_policy(&client, &policy, false, groups(&places)).iter().map(|group| group.priority).collect::<Vec<_>>()
    };
    assert_eq!(tiers(Vec::new()), [0, 0, 1, 1]);
    assert_eq!(tiers(vec![Failover { from: "r1".into(), to: "r3".into() }]), [0, 0, 2, 1]);
}
