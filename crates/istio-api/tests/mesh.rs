//! The mesh's settings: Istio's defaults, and what is laid over them.

use istio_api::mesh::{MeshConfig, MeshNetworks, ProxyConfig, extension_provider::Provider, mesh_config::OutboundTrafficMode};
use serde_json::{Value, json};

#[test]
fn an_empty_document_is_istios_defaults() {
    for document in [Value::Null, json!({})] {
        let mesh = MeshConfig::from_yaml_value(document).unwrap();
        assert_eq!(mesh, MeshConfig::default());
    }
    let mesh = MeshConfig::default();
    assert_eq!(mesh.connect_timeout.unwrap().as_secs(), 10);
    assert_eq!(mesh.outbound_traffic_policy.mode, OutboundTrafficMode::AllowAny);
    assert_eq!((mesh.trust_domain.as_str(), mesh.root_namespace.as_str()), ("cluster.local", "istio-system"));
    assert!(mesh.auto_mtls());
    assert_eq!(mesh.default_config.discovery_address, "istiod.istio-system.svc:15012");
}

#[test]
fn fields_replace_and_the_proxy_config_is_merged() {
    let mesh = MeshConfig::from_yaml_value(json!({
        "enableTracing": false,
        "enableAutoMtls": null,
        "localityLbSetting": {"distribute": []},
        "unknown": 1,
        "defaultConfig": {"concurrency": 2, "proxyMetadata": {"A": "1"}},
        "extensionProviders": [
            {"name": "envoy", "envoyFileAccessLog": {"path": "/dev/stderr"}},
            {"name": "zipkin", "zipkin": {"service": "zipkin", "port": 9411}}
        ],
        "trustDomainAliases": ["b", "a", "b"],
        "meshMTLS": {"minProtocolVersion": "TLSV1_3"}
    }))
    .unwrap();
    assert!(!mesh.enable_tracing && mesh.auto_mtls());
    assert_eq!(mesh.locality_lb_setting.as_ref().unwrap().enabled, None, "a message is replaced as a whole");
    assert_eq!((mesh.default_config.concurrency, mesh.default_config.status_port), (Some(2), 15020));
    assert_eq!(mesh.extension_providers.len(), 4);
    let Some(Provider::EnvoyFileAccessLog(log)) = mesh.extension_provider("envoy").and_then(|provider| provider.provider()) else {
        panic!("the built-in provider is replaced by name")
    };
    assert_eq!(log.path, "/dev/stderr");
    assert_eq!(mesh.trust_domain_aliases, ["a", "b"]);
    assert!(mesh.mesh_mtls.is_some());

    let over = mesh.overlaid(json!({"trustDomainAliases": ["c"], "defaultConfig": {"proxyMetadata": {"B": "2"}}})).unwrap();
    assert!(!over.enable_tracing, "what an earlier layer turned off stays off");
    assert_eq!(over.trust_domain_aliases, ["a", "b", "c"]);
    assert_eq!(over.default_config.proxy_metadata.len(), 2);

    assert_eq!(MeshConfig::from_yaml_value(serde_json::to_value(&over).unwrap()).unwrap(), over);
    assert!(MeshConfig::from_yaml_value(json!({"connectTimeout": "soon"})).is_err());
    assert!(MeshConfig::from_yaml_value(json!([])).is_err());
}

#[test]
fn a_tracing_service_name_takes_the_place_of_the_cluster_name() {
    let proxy = ProxyConfig::from_yaml_value(json!({"tracingServiceName": "CANONICAL_NAME_ONLY"})).unwrap();
    assert_eq!(proxy.service_cluster, None);
    let proxy = proxy.overlaid(json!({"statusPort": 1})).unwrap();
    assert_eq!((proxy.service_cluster, proxy.tracing_service_name.is_some(), proxy.status_port), (None, true, 1));
}

#[test]
fn networks_by_name() {
    let networks = MeshNetworks::from_yaml_value(json!({"networks": {
        "east": {"endpoints": [{"fromRegistry": "c1"}, {"fromCidr": "10.0.0.0/8"}], "gateways": [{"address": "1.1.1.1", "port": 443}]}
    }}));
    let networks = networks.unwrap();
    assert_eq!(networks.networks["east"].endpoints.len(), 2);
    assert_eq!(MeshNetworks::from_yaml_value(Value::Null).unwrap(), MeshNetworks::default());
}
