use super::*;
use crate::endpoint::{EndpointHealth, EndpointInputs, LocalityEndpoint, LocalityGroup, TlsMode, encode_lb_endpoint, group_by_locality};
use crate::tls::CredentialSource;
use base::{Address, Hostname, Labels, Locality, ObjectRef, Protocol};
use istio_api::Duration;
use istio_api::mesh::mesh_config::{DefaultTrafficPolicy, MeshConfig};
use istio_api::networking::destination_rule::*;
use istio_api::selector::PortSelector;
use serde_json::{Value, json};
use std::sync::LazyLock;
use xds_api::{Wire, envoy::config::cluster::v3::Cluster};

const NAME: &str = "outbound|80||cart.shop.svc.cluster.local";

fn as_json(cluster: &Cluster) -> Value {
    xds_wire::json::to_json(Cluster::TYPE_URL, &cluster.to_bytes()).unwrap()
}

static MESH: LazyLock<ClusterMeshDefaults> = LazyLock::new(|| ClusterMeshDefaults::from(&MeshConfig::default()));
static HOST: LazyLock<Hostname> = LazyLock::new(|| Hostname::new("cart.shop.svc.cluster.local"));
static ACCOUNTS: LazyLock<Vec<String>> = LazyLock::new(|| vec!["spiffe://cluster.local/ns/shop/sa/cart".to_owned()]);
const SERVICES: &[ServiceMetadata<'_>] = &[ServiceMetadata { host: "cart.shop.svc.cluster.local", name: "cart", namespace: "shop" }];
const SIDECAR: &ClusterProxy = &ClusterProxy {
    families: IpFamilies::V4,
    kind: ProxyKind::Sidecar,
    certificates: Certificates::Sds,
    credentials: CredentialSource::Ads,
    hbone: false,
    discovers_itself: false,
    preserves_header_case: false,
    buffer_limit: None,
};
const WITHOUT_CERTIFICATE: &ClusterProxy = &ClusterProxy { certificates: Certificates::None, ..*SIDECAR };
const GATEWAY: &ClusterProxy = &ClusterProxy { kind: ProxyKind::Gateway, ..*SIDECAR };
const WITH_HBONE: &ClusterProxy = &ClusterProxy { hbone: true, ..*SIDECAR };

/// Builds a cluster of port 80 after `change` of the inputs.
fn build<'a>(policy: &'a ClusterPolicy, change: impl FnOnce(&mut OutboundClusterInputs<'a>)) -> (Value, Vec<base::Diagnostic>) {
    let mut inputs = OutboundClusterInputs {
        name: NAME,
        stat_name: None,
        hostname: &HOST,
        port: 80,
        protocol: Protocol::Http,
        subset: None,
        discovery: Discovery::Eds,
        policy,
        mesh: &MESH,
        proxy: SIDECAR,
        client_files: None,
        auto_mtls: AutoMtls::On,
        service_accounts: &ACCOUNTS,
        subject_alt_names: &[],
        spreads_keys: false,
        weights_localities: false,
        persistent_session: false,
        metadata: ClusterMetadata { services: SERVICES, ..ClusterMetadata::default() },
    };
    change(&mut inputs);
    let (cluster, diagnostics) = outbound_cluster(&inputs);
    (cluster.map_or(Value::Null, |cluster| as_json(&cluster)), diagnostics)
}

fn plain(policy: &ClusterPolicy) -> Value {
    build(policy, |inputs| inputs.auto_mtls = AutoMtls::Off).0
}

fn dns_endpoints(names: &[&str]) -> Vec<LocalityGroup> {
    let endpoint = |name: &&str| {
        let address = Address::parse(name);
        let inputs = EndpointInputs {
            address: &address,
            port: 443,
            additional_addresses: &[],
            health: EndpointHealth::Unknown,
            weight: 1,
            tls_mode: TlsMode::Disabled,
            workload: "",
            tunnel: None,
        };
        (Locality::default(), LocalityEndpoint { encoded: encode_lb_endpoint(&inputs), weight: 1, labels: Labels::default() })
    };
    group_by_locality(names.iter().map(endpoint))
}

#[test]
fn without_a_rule_a_cluster_has_auto_mtls_and_no_limits() {
    let (cluster, diagnostics) = build(&ClusterPolicy::default(), |_| {});
    assert!(diagnostics.is_empty());
    let without_tls = plain(&ClusterPolicy::default());
    let max = u32::MAX;
    let expected = json!({
        "name": NAME,
        "alt_stat_name": format!("{NAME};"),
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": { "ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3" },
            "service_name": NAME
        },
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": { "thresholds": [{ "max_connections": max, "max_pending_requests": max, "max_requests": max, "max_retries": max }] },
        "common_lb_config": { "healthy_panic_threshold": {} },
        "metadata": { "filter_metadata": {
            "istio": { "services": [{ "host": "cart.shop.svc.cluster.local", "name": "cart", "namespace": "shop" }] },
            "istio.service": { "host": "cart.shop.svc.cluster.local", "name": "cart", "namespace": "shop" }
        } }
    });
    assert_eq!(without_tls, expected);
    let matches = &cluster["transport_socket_matches"];
    assert_eq!(matches[0]["match"], json!({ "tlsMode": "istio" }));
    let tls = &matches[0]["transport_socket"]["typed_config"];
    assert_eq!(tls["sni"], "outbound_.80_._.cart.shop.svc.cluster.local");
    let common = &tls["common_tls_context"];
    assert_eq!(common["alpn_protocols"], json!(["istio-peer-exchange", "istio"]));
    assert_eq!(common["tls_certificate_sds_secret_configs"][0]["name"], "default");
    let validation = &common["combined_validation_context"];
    assert_eq!(validation["validation_context_sds_secret_config"]["name"], "ROOTCA");
    assert_eq!(
        validation["default_validation_context"],
        json!({ "match_subject_alt_names": [{ "exact": "spiffe://cluster.local/ns/shop/sa/cart" }] })
    );
    assert_eq!((&matches[1]["name"], &matches[1]["match"], &matches[2]), (&json!("tlsMode-disabled"), &json!({}), &Value::Null));
}

#[test]
fn auto_mtls_needs_a_certificate_and_an_internal_service() {
    let none = ClusterPolicy::default();
    assert_eq!(build(&none, |inputs| inputs.proxy = WITHOUT_CERTIFICATE).0, plain(&none));
    let external = build(&none, |inputs| inputs.metadata.mesh_external = true).0;
    assert_eq!(
        (&external["transport_socket_matches"], &external["metadata"]["filter_metadata"]["istio"]["external"]),
        (&Value::Null, &json!(true))
    );
    let tunnelled = build(&none, |inputs| inputs.proxy = WITH_HBONE).0;
    let names =
        tunnelled["transport_socket_matches"].as_array().unwrap().iter().map(|socket| socket["name"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["hbone", "tlsMode-istio", "tlsMode-disabled"]);
}

fn with_tls(mode: ClientTlsMode, change: impl FnOnce(&mut ClientTlsSettings)) -> ClusterPolicy {
    let mut tls = ClientTlsSettings { mode, ..ClientTlsSettings::default() };
    change(&mut tls);
    ClusterPolicy { tls: Some(tls), ..ClusterPolicy::default() }
}

#[test]
fn istio_mutual_without_a_certificate_makes_no_cluster() {
    let rule = ObjectRef::new("DestinationRule", "shop", "cart");
    let policy = with_tls(ClientTlsMode::IstioMutual, |_| {});
    let (cluster, diagnostics) = build(&policy, |inputs| {
        inputs.proxy = WITHOUT_CERTIFICATE;
        inputs.metadata.rule = Some(&rule);
    });
    assert_eq!(cluster, Value::Null);
    assert_eq!((diagnostics[0].field.as_str(), diagnostics[0].object.as_ref()), ("spec.trafficPolicy.tls.mode", Some(&rule)));
    let (cluster, diagnostics) = build(&with_tls(ClientTlsMode::Mutual, |tls| tls.client_certificate = "/a".into()), |_| {});
    assert_eq!((cluster, diagnostics[0].field.as_str()), (Value::Null, "spec.trafficPolicy.tls.privateKey"));
}

#[test]
fn simple_tls_sends_the_name_of_the_request_unless_told_otherwise() {
    let options =
        |cluster: &Value| cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"].clone();
    let (cluster, _) = build(&with_tls(ClientTlsMode::Simple, |_| {}), |_| {});
    assert_eq!(options(&cluster)["upstream_http_protocol_options"], json!({ "auto_sni": true, "auto_san_validation": true }));
    assert_eq!(options(&cluster)["explicit_http_config"], json!({ "http_protocol_options": {} }));
    assert_eq!(cluster["metadata"]["filter_metadata"]["istio"]["alpn_override"], "false");
    let common = &cluster["transport_socket"]["typed_config"]["common_tls_context"];
    assert_eq!(common["combined_validation_context"]["validation_context_sds_secret_config"]["name"], "file-root:system");

    let named = with_tls(ClientTlsMode::Simple, |tls| (tls.sni, tls.credential_name) = ("a.example".into(), "ca".into()));
    let (cluster, _) = build(&named, |_| {});
    assert_eq!((&cluster["transport_socket"], options(&cluster)), (&Value::Null, Value::Null), "a sidecar does not honour the Secret");
    let (cluster, _) = build(&named, |inputs| inputs.proxy = GATEWAY);
    let tls = &cluster["transport_socket"]["typed_config"];
    assert_eq!(tls["sni"], "a.example");
    let authorities = &tls["common_tls_context"]["combined_validation_context"]["validation_context_sds_secret_config"];
    assert_eq!(*authorities, json!({ "name": "kubernetes://ca-cacert", "sds_config": { "ads": {}, "resource_api_version": "V3" } }));
}

#[test]
fn settings_of_a_port_replace_all_four_blocks() {
    let pool = |connections| ConnectionPoolSettings {
        tcp: Some(TcpSettings { max_connections: connections, ..TcpSettings::default() }),
        ..ConnectionPoolSettings::default()
    };
    let simple = |simple| LoadBalancerSettings { simple: Some(simple), ..LoadBalancerSettings::default() };
    let mesh = DefaultTrafficPolicy { connection_pool: Some(pool(1)), outlier_detection: Some(OutlierDetection::default()) };
    let port =
        PortTrafficPolicy { port: Some(PortSelector { number: 80 }), load_balancer: Some(simple(SimpleLb::Random)), ..Default::default() };
    let budget = Some(RetryBudget::default());
    let rule = TrafficPolicy {
        connection_pool: Some(pool(2)),
        load_balancer: Some(simple(SimpleLb::RoundRobin)),
        retry_budget: budget.clone(),
        port_level_settings: vec![port],
        ..TrafficPolicy::default()
    };
    let subset =
        TrafficPolicy { outlier_detection: Some(OutlierDetection { max_ejection_percent: 7, ..Default::default() }), ..Default::default() };
    let other = merge_policy(Some(&mesh), Some(&rule), Some(&subset), 81);
    let expected = ClusterPolicy {
        connection_pool: Some(pool(2)),
        load_balancer: Some(simple(SimpleLb::RoundRobin)),
        outlier_detection: subset.outlier_detection.clone(),
        retry_budget: budget.clone(),
        ..ClusterPolicy::default()
    };
    assert_eq!(other, expected);
    let expected = ClusterPolicy { load_balancer: Some(simple(SimpleLb::Random)), retry_budget: budget, ..ClusterPolicy::default() };
    assert_eq!(merge_policy(Some(&mesh), Some(&rule), None, 80), expected);
}

#[test]
fn load_balancers() {
    let lb = |change: &dyn Fn(&mut LoadBalancerSettings)| {
        let mut settings = LoadBalancerSettings::default();
        change(&mut settings);
        plain(&ClusterPolicy {
            load_balancer: Some(settings),
            outlier_detection: Some(OutlierDetection::default()),
            ..ClusterPolicy::default()
        })
    };
    let passthrough = lb(&|lb| lb.simple = Some(SimpleLb::Passthrough));
    assert_eq!(
        (&passthrough["type"], &passthrough["lb_policy"], &passthrough["eds_cluster_config"]),
        (&json!("ORIGINAL_DST"), &json!("CLUSTER_PROVIDED"), &Value::Null)
    );
    let ring = lb(&|lb| lb.consistent_hash = Some(ConsistentHashLb { use_source_ip: Some(true), ..Default::default() }));
    assert_eq!((&ring["lb_policy"], &ring["ring_hash_lb_config"]), (&json!("RING_HASH"), &json!({ "minimum_ring_size": "1024" })));
    let warm = lb(&|lb| (lb.simple, lb.warmup_duration_secs) = (Some(SimpleLb::LeastRequest), Some(Duration::from_secs(60))));
    assert_eq!(
        warm["least_request_lb_config"],
        json!({ "slow_start_config": { "slow_start_window": "60s", "min_weight_percent": { "value": 10 } } })
    );
    let failover = LocalityLoadBalancerSetting { failover: vec![Failover { from: "a".into(), to: "b".into() }], ..Default::default() };
    let explicit = lb(&|lb| lb.locality_lb_setting = Some(failover.clone()));
    assert_eq!(explicit["common_lb_config"]["locality_weighted_lb_config"], json!({}));
    assert_eq!(warm["common_lb_config"], json!({ "healthy_panic_threshold": {} }), "the failover that is on by default weights nothing");
}

#[test]
fn connection_pool_and_outlier_detection() {
    let policy = ClusterPolicy {
        connection_pool: Some(ConnectionPoolSettings {
            tcp: Some(TcpSettings {
                max_connections: 5,
                idle_timeout: Some(Duration::from_secs(9)),
                connect_timeout: Some(Duration::from_millis(30)),
                ..Default::default()
            }),
            http: Some(HttpSettings { h2_upgrade_policy: H2UpgradePolicy::Upgrade, max_concurrent_streams: 11, ..Default::default() }),
        }),
        outlier_detection: Some(OutlierDetection {
            consecutive_5xx_errors: Some(0),
            min_health_percent: 30,
            outlier_detection_http_error_codes: vec![500, 503],
            ..Default::default()
        }),
        ..ClusterPolicy::default()
    };
    let cluster = plain(&policy);
    assert_eq!(cluster["connect_timeout"], "0.030s");
    assert_eq!(cluster["circuit_breakers"]["thresholds"][0]["max_connections"], 5);
    assert_eq!(cluster["outlier_detection"], json!({ "consecutive_5xx": 0, "enforcing_consecutive_5xx": 0, "enforcing_success_rate": 0 }));
    assert_eq!(cluster["common_lb_config"]["healthy_panic_threshold"]["value"], 30);
    let options = &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
    assert_eq!(options["common_http_protocol_options"]["idle_timeout"], "9s");
    assert_eq!(options["explicit_http_config"]["http2_protocol_options"]["max_concurrent_streams"], 11);
    assert_eq!(options["outlier_detection"]["error_matcher"]["or_match"]["rules"].as_array().unwrap().len(), 2);
}

#[test]
fn dns_clusters() {
    let none = ClusterPolicy::default();
    assert_eq!(build(&none, |inputs| inputs.discovery = Discovery::StrictDns { endpoints: &[] }), (Value::Null, Vec::new()));
    let endpoints = dns_endpoints(&["a.example", "b.example"]);
    let strict = build(&none, |inputs| inputs.discovery = Discovery::StrictDns { endpoints: &endpoints }).0;
    assert_eq!(
        (&strict["dns_lookup_family"], &strict["dns_jitter"], &strict["wait_for_warm_on_init"]),
        (&json!("V4_ONLY"), &json!("0.100s"), &json!(false))
    );
    assert_eq!(strict["load_assignment"]["endpoints"][0]["lb_endpoints"].as_array().unwrap().len(), 2);
    let (logical, diagnostics) =
        build(&none, |inputs| inputs.discovery = Discovery::LogicalDns { endpoints: &endpoints, race_first_connect: true });
    assert_eq!((&logical["dns_lookup_family"], diagnostics.len()), (&json!("ALL"), 1));
    assert_eq!(logical["load_assignment"]["endpoints"][0]["lb_endpoints"].as_array().unwrap().len(), 1);
}

#[test]
fn names_of_requests_are_resolved_and_checked() {
    let dynamic = |policy: &ClusterPolicy| {
        build(policy, |inputs| (inputs.discovery, inputs.auto_mtls) = (Discovery::DynamicForwardProxy, AutoMtls::Off)).0
    };
    let insecure = |cluster: &Value| cluster["cluster_type"]["typed_config"]["allow_insecure_cluster_options"].clone();
    let without = dynamic(&ClusterPolicy::default());
    assert_eq!(
        (&without["lb_policy"], &without["type"], &without["common_lb_config"]),
        (&json!("CLUSTER_PROVIDED"), &Value::Null, &Value::Null)
    );
    assert_eq!((insecure(&without), &without["typed_extension_protocol_options"]), (Value::Null, &Value::Null));
    let mutual = dynamic(&with_tls(ClientTlsMode::IstioMutual, |_| {}));
    assert_eq!((insecure(&mutual), &mutual["transport_socket"]["typed_config"]["sni"]), (Value::Null, &Value::Null));
    assert_eq!(insecure(&dynamic(&with_tls(ClientTlsMode::Simple, |tls| tls.insecure_skip_verify = Some(true)))), json!(true));
}

#[test]
fn inbound_and_passthrough_mark_their_connections() {
    let local = Address::parse("127.0.0.1");
    let mut inputs = InboundClusterInputs {
        name: "inbound|8080||",
        stat_name: None,
        protocol: Protocol::Http,
        endpoint: InboundEndpoint::OriginalDst,
        connection_pool: None,
        mesh: &MESH,
        families: IpFamilies::V4,
        preserves_header_case: false,
        services: &[],
    };
    let original = as_json(&inbound_cluster(&inputs));
    assert_eq!(original["upstream_bind_config"], json!({ "source_address": { "address": "127.0.0.6", "port_value": 0 } }));
    assert_eq!(
        (&original["type"], &original["lb_policy"], &original["common_lb_config"]),
        (&json!("ORIGINAL_DST"), &json!("CLUSTER_PROVIDED"), &json!({}))
    );
    inputs.endpoint = InboundEndpoint::Static(&local, 80);
    let fixed = as_json(&inbound_cluster(&inputs));
    assert_eq!((&fixed["type"], &fixed["upstream_bind_config"]), (&json!("STATIC"), &Value::Null));
    let passthrough = as_json(&inbound_passthrough_cluster(&MESH, None, IpFamilies::Dual { v6_first: false }));
    assert_eq!(passthrough["upstream_bind_config"]["extra_source_addresses"][0]["address"]["address"], "::6");
}
