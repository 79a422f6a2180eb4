//! The bootstrap of a stock Envoy beside this agent: who it is, the two sockets, and its own listeners for probes and
//! metrics. Names of clusters and listeners are those of Istio's bootstrap.

use crate::settings::Settings;
use base::{Labels, Locality};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Our mark in the metadata: this Envoy has certificates, and is a stock one.
const AGENT_MARK: &str = "ISTIOD_AGENT";

/// The bootstrap, as JSON.
pub fn bootstrap(settings: &Settings) -> Value {
    json!({
        "node": node(settings),
        "admin": { "address": socket_address("127.0.0.1", settings.admin_port), "profile_path": "/var/lib/istio/data/envoy.prof" },
        "layered_runtime": { "layers": [
            { "name": "global config", "static_layer": {
                "re2.max_program_size.error_level": "32768",
                "envoy.reloadable_features.http_reject_path_with_fragment": "false",
            } },
            { "name": "admin", "admin_layer": {} },
        ] },
        // Envoy wants a limit, or warns; the node's own limits are what counts.
        "overload_manager": { "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": 2_147_483_647,
            },
        }] },
        "cluster_manager": if discovers_itself(settings) { json!({ "local_cluster_name": LOCAL_CLUSTER }) } else { json!({}) },
        "stats_config": { "use_all_default_tags": false, "stats_tags": stats_tags() },
        "dynamic_resources": {
            "lds_config": { "ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3" },
            "cds_config": { "ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3" },
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
            },
        },
        "static_resources": {
            "clusters": clusters(settings),
            "listeners": [
                listener("prometheus", settings.prometheus_port, "/stats/prometheus", "agent", Some("/stats/envoy")),
                listener("agent", settings.ready_port, "/healthz/ready", "agent", None),
            ],
        },
    })
}

/// The endpoints of the proxy's own workload, by whose zones Envoy decides how much traffic stays in its own (Istio's name).
const LOCAL_CLUSTER: &str = "local_cluster";

/// `ISTIO_META_ENABLE_SELF_DISCOVERY`
fn discovers_itself(settings: &Settings) -> bool {
    settings.metadata.get("ENABLE_SELF_DISCOVERY").is_some_and(|value| *value == json!("true") || *value == json!(true))
}

fn clusters(settings: &Settings) -> Vec<Value> {
    let mut clusters = vec![
        local("prometheus_stats", settings.admin_port),
        local("agent", settings.status_port),
        socket("sds-grpc", &settings.sds_socket),
        socket("xds-grpc", &settings.xds_socket),
    ];
    if discovers_itself(settings) {
        clusters.push(json!({
            "name": LOCAL_CLUSTER,
            "type": "EDS",
            "connect_timeout": "1s",
            "eds_cluster_config": {
                "eds_config": { "ads": {}, "resource_api_version": "V3" },
                "service_name": LOCAL_CLUSTER,
            },
        }));
    }
    clusters
}

/// Where the pod is, as far as its labels say it.
fn locality(settings: &Settings) -> Value {
    let Locality { region, zone, subzone } = Locality::of_labels(&Labels::from(settings.labels.clone()));
    json!({ "region": &*region, "zone": &*zone, "sub_zone": &*subzone })
}

/// The id by which istiod knows this proxy: `<kind>~<address>~<pod>.<namespace>~<domain>`.
pub fn node_id(settings: &Settings) -> String {
    let Settings { kind, pod, namespace, dns_domain, .. } = settings;
    let address = settings.addresses.first().map_or_else(|| "127.0.0.1".to_owned(), ToString::to_string);
    format!("{}~{address}~{pod}.{namespace}~{dns_domain}", kind.as_str())
}

fn node(settings: &Settings) -> Value {
    let Settings { pod, namespace, .. } = settings;
    let mut metadata = Map::new();
    let mut put = |key: &str, value: Value| metadata.insert(key.to_owned(), value);
    put(AGENT_MARK, json!("true"));
    put("ANNOTATIONS", json!(settings.annotations));
    put("CLUSTER_ID", json!(settings.cluster_id));
    put("ENVOY_PROMETHEUS_PORT", json!(settings.prometheus_port));
    put("ENVOY_STATUS_PORT", json!(settings.ready_port));
    put("INSTANCE_IPS", json!(settings.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")));
    put("LABELS", json!(settings.labels));
    put("NAME", json!(pod));
    put("NAMESPACE", json!(namespace));
    put("SERVICE_ACCOUNT", json!(settings.identity.service_account));
    if let Some(mesh) = &settings.proxy.mesh_id {
        put("MESH_ID", json!(mesh));
    }
    // What the pod's own environment says wins: it is what injection and the user have decided.
    metadata.extend(settings.metadata.clone());
    let cluster = settings.proxy.service_cluster.clone().unwrap_or_else(|| {
        let app = settings.labels.get("app").map_or("istio-proxy", String::as_str);
        format!("{app}.{namespace}")
    });
    json!({
        "id": node_id(settings),
        "cluster": cluster,
        "metadata": metadata,
        "locality": locality(settings),
    })
}

/// How statistics with names of clusters and listeners in them become labels; the tags of Istio's bootstrap that stock
/// statistics need.
fn stats_tags() -> Value {
    let tag = |name: &str, regex: &str| json!({ "tag_name": name, "regex": regex });
    json!([
        tag("cluster_name", r"^cluster\.((.+?(\..+?\.svc\.cluster\.local)?)\.)"),
        tag("tcp_prefix", r"^tcp\.((.*?)\.)\w+?$"),
        tag("response_code", r"_rq(_(\d{3}))$"),
        tag("response_code_class", r"_rq(_(\dxx))$"),
        tag("http_conn_manager_listener_prefix", r"^listener(?=\.).*?\.http\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
        tag("http_conn_manager_prefix", r"^http\.(((outbound_([0-9]{1,3}\.{0,1}){4}_\d{0,5})|([^\.]+))\.)"),
        tag("listener_address", r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
    ])
}

fn local(name: &str, port: u16) -> Value {
    cluster(name, socket_address("127.0.0.1", port), json!({ "http_protocol_options": {} }))
}

fn socket(name: &str, path: &Path) -> Value {
    cluster(name, json!({ "pipe": { "path": path } }), json!({ "http2_protocol_options": {} }))
}

fn cluster(name: &str, address: Value, protocol: Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": protocol,
        } },
        // The first configuration of a large mesh must not trip over limits that are meant for applications.
        "circuit_breakers": { "thresholds": [
            { "priority": "DEFAULT", "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000 },
        ] },
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }] },
    })
}

/// A port of the pod at which one path, and nothing else, leads to `cluster`.
fn listener(name: &str, port: u16, path: &str, cluster: &str, rewrite: Option<&str>) -> Value {
    let mut route = json!({ "cluster": cluster });
    if let (Some(rewrite), Some(route)) = (rewrite, route.as_object_mut()) {
        route.insert("prefix_rewrite".to_owned(), json!(rewrite));
    }
    json!({
        "name": name,
        "address": socket_address("0.0.0.0", port),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "codec_type": "AUTO",
                "stat_prefix": name,
                "route_config": { "virtual_hosts": [{ "name": "backend", "domains": ["*"], "routes": [{ "match": { "prefix": path }, "route": route }] }] },
                "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                } }],
            },
        }] }],
    })
}

fn socket_address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}
