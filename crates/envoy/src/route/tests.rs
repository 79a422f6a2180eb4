use super::*;
use base::{Hostname, Labels};
use istio_api::networking::{destination_rule::ConsistentHashLb, virtual_service::VirtualService};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use xds_api::{
    Wire,
    envoy::config::route::v3::{Route, RouteConfiguration},
};

/// The client and listener of a test; the VirtualService is `shop/web`.
struct Setting {
    port: u16,
    tls: bool,
    semantics: RouteSemantics,
    labels: Labels,
    gateways: BTreeSet<String>,
    destinations: Destinations,
    defaults: RouteDefaults,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            port: 80,
            tls: false,
            semantics: RouteSemantics::VirtualService,
            labels: Labels::from(BTreeMap::from([("app".to_string(), "cart".to_string())])),
            gateways: BTreeSet::from(["mesh".to_string()]),
            destinations: Destinations::new(),
            defaults: RouteDefaults::default(),
        }
    }
}

impl Setting {
    fn build(&self, http: Value) -> (Vec<Route>, Vec<base::Diagnostic>) {
        let virtual_service: VirtualService = serde_json::from_value(json!({ "hosts": ["web"], "http": http })).unwrap();
        http_routes(&HttpRouteInputs {
            virtual_service: &virtual_service,
            name: "web",
            namespace: "shop",
            domain: "cluster.local",
            semantics: self.semantics,
            listener_port: self.port,
            tls: self.tls,
            client: RouteClient { labels: &self.labels, namespace: "front" },
            gateways: &self.gateways,
            destinations: &self.destinations,
            defaults: &self.defaults,
        })
    }

    fn routes(&self, http: Value) -> Vec<Value> {
        let (routes, diagnostics) = self.build(http);
        assert_eq!(diagnostics, []);
        routes.iter().map(to_json).collect()
    }

    fn hashed(host: &str, hash: Value) -> Self {
        let hash: ConsistentHashLb = serde_json::from_value(hash).unwrap();
        let key = DestinationKey { host: host.to_string(), subset: String::new(), port: None };
        let hostname = Hostname::resolve(host, "shop", "cluster.local");
        let known = ResolvedDestination { hostname, only_port: Some(8080), hash: Some(Arc::new(hash)), session: None };
        Self { destinations: BTreeMap::from([(key, known)]), ..Self::default() }
    }
}

fn to_json(route: &Route) -> Value {
    xds_wire::json::to_json(Route::TYPE_URL, &route.to_bytes()).unwrap()
}

fn to(host: &str) -> Value {
    json!([{ "destination": { "host": host } }])
}

#[test]
fn a_plain_rule_has_all_the_defaults_of_istio() {
    assert_eq!(
        Setting::default().routes(json!([{ "name": "all", "route": to("reviews") }])),
        [json!({
            "name": "all",
            "match": { "prefix": "/" },
            "route": {
                "cluster": "outbound|80||reviews.shop.svc.cluster.local",
                "timeout": "0s",
                "max_grpc_timeout": "0s",
                "retry_policy": {
                    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                    "num_retries": 2,
                    "retry_host_predicate": [{
                        "name": "envoy.retry_host_predicates.previous_hosts",
                        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate" }
                    }],
                    "host_selection_retry_max_attempts": "5"
                }
            },
            "metadata": { "filter_metadata": { "istio": {
                "config": "/apis/networking.istio.io/v1/namespaces/shop/virtual-service/web"
            } } },
            "decorator": { "operation": "reviews.shop.svc.cluster.local:80/*" }
        })]
    );
}

#[test]
fn every_kind_of_match_is_translated() {
    let routes = Setting::default().routes(json!([{
        "name": "rule",
        "match": [{
            "name": "first",
            "uri": { "regex": "/v[0-9]+" },
            "method": { "exact": "GET" },
            "authority": { "prefix": "web." },
            "scheme": { "exact": "https" },
            "headers": { "user": { "exact": "jason" }, "any": {}, "star": { "regex": "*" }, "@request.auth.claims[group][id]": { "exact": "a" } },
            "withoutHeaders": { "debug": { "exact": "1" }, "absent": {} },
            "queryParams": { "q": { "regex": "[a-z]" }, "p": {} },
            "ignoreUriCase": true,
            "statPrefix": "stats"
        }],
        "route": to("reviews")
    }]));
    let text = json!({ "string_match": { "exact": "a" } });
    let claim = json!({
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{ "key": "payload" }, { "key": "group" }, { "key": "id" }],
        "value": { "or_match": { "value_matchers": [{ "list_match": { "one_of": text } }, text] } }
    });
    assert_eq!(
        routes[0]["match"],
        json!({
            "safe_regex": { "regex": "/v[0-9]+" },
            "case_sensitive": false,
            "headers": [
                { "name": "absent", "present_match": true, "invert_match": true },
                { "name": "any", "present_match": true },
                { "name": "debug", "string_match": { "exact": "1" }, "invert_match": true, "treat_missing_header_as_empty": true },
                { "name": "star", "present_match": true },
                { "name": "user", "string_match": { "exact": "jason" } },
                { "name": ":method", "string_match": { "exact": "GET" } },
                { "name": ":authority", "string_match": { "prefix": "web." } },
                { "name": ":scheme", "string_match": { "exact": "https" } }
            ],
            "query_parameters": [
                { "name": "p", "present_match": true },
                { "name": "q", "string_match": { "safe_regex": { "regex": "[a-z]" } } }
            ],
            "dynamic_metadata": [claim]
        })
    );
    assert_eq!((&routes[0]["name"], &routes[0]["stat_prefix"]), (&json!("rule.first"), &json!("stats")));
    assert_eq!(routes[0]["decorator"]["operation"], "reviews.shop.svc.cluster.local:80/v[0-9]+");
}

#[test]
fn prefixes_of_ingress_and_gateway_api_are_path_elements() {
    let rule = json!([{ "match": [{ "uri": { "prefix": "/a.b/" } }], "rewrite": { "uri": "/" }, "route": to("reviews") }]);
    let of = |semantics| Setting { semantics, ..Setting::default() }.routes(rule.clone()).remove(0);
    let (plain, ingress, gateway_api) = (of(RouteSemantics::VirtualService), of(RouteSemantics::Ingress), of(RouteSemantics::GatewayApi));
    assert_eq!(plain["match"], json!({ "prefix": "/a.b/", "case_sensitive": true }));
    assert_eq!(ingress["match"], json!({ "path_separated_prefix": "/a.b", "case_sensitive": true }));
    assert_eq!(plain["route"]["prefix_rewrite"], "/");
    assert_eq!(gateway_api["route"]["regex_rewrite"], json!({ "pattern": { "regex": r"^/a\.b(/?)(.*)" }, "substitution": r"/\2" }));
    assert_eq!(gateway_api["route"]["cluster_not_found_response_code"], "INTERNAL_SERVER_ERROR");
}

#[test]
fn what_can_never_match_vanishes_and_what_always_matches_ends_the_list() {
    let rule = |name: &str, request: Value| json!({ "name": name, "match": [request], "route": to("reviews") });
    let names = |setting: &Setting, http: Value| {
        setting.routes(http).iter().map(|route| route["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let http = json!([
        rule("port", json!({ "port": 81 })),
        rule("labels", json!({ "sourceLabels": { "app": "other" } })),
        rule("namespace", json!({ "sourceNamespace": "back" })),
        rule("client", json!({ "sourceLabels": { "app": "cart" }, "sourceNamespace": "front", "uri": { "exact": "/c" } })),
        rule("gateway", json!({ "gateways": ["edge"] })),
        rule("mesh", json!({ "gateways": ["mesh"], "sourceLabels": { "app": "other" }, "uri": { "exact": "/m" } })),
        rule("all", json!({ "uri": { "regex": ".*" } })),
        rule("never", json!({ "uri": { "prefix": "/x" } })),
    ]);
    assert_eq!(names(&Setting::default(), http.clone()), ["client", "mesh", "all"]);
    let edge = Setting { gateways: BTreeSet::from(["shop/edge".to_string()]), ..Setting::default() };
    assert_eq!(names(&edge, http), ["client", "gateway"]);
}

#[test]
fn several_destinations_share_by_weight_and_keep_their_own_header_changes() {
    let routes = Setting::default().routes(json!([{
        "headers": { "request": { "set": { "b": "1", "a": "2", ":path": "/no" }, "add": { "c": "3" }, "remove": ["x", "Host"] } },
        "route": [
            { "destination": { "host": "reviews", "subset": "v1", "port": { "number": 9080 } }, "weight": 30 },
            { "destination": { "host": "reviews.other.com" }, "weight": 10,
              "headers": { "request": { "set": { "host": "new" } }, "response": { "remove": ["server"] } } },
            { "destination": { "host": "zero" } }
        ]
    }]));
    assert_eq!(
        routes[0]["route"]["weighted_clusters"],
        json!({ "clusters": [
            { "name": "outbound|9080|v1|reviews.shop.svc.cluster.local", "weight": 30 },
            { "name": "outbound|80||reviews.other.com", "weight": 10, "response_headers_to_remove": ["server"], "host_rewrite_literal": "new" }
        ] })
    );
    assert_eq!(
        routes[0]["request_headers_to_add"],
        json!([
            { "header": { "key": "a", "value": "2" }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" },
            { "header": { "key": "b", "value": "1" }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" },
            { "header": { "key": "c", "value": "3" } }
        ])
    );
    assert_eq!(routes[0]["request_headers_to_remove"], json!(["x"]));
    assert_eq!(routes[0]["decorator"]["operation"], "web:80/*");
}

#[test]
fn the_authority_is_taken_from_rewrite_then_rule_then_destination() {
    let host = |text: &str| json!({ "request": { "set": { "host": text } } });
    let rule = |rewrite: Value, headers: Value| json!([{ "rewrite": rewrite, "headers": headers, "route": [{ "destination": { "host": "reviews" }, "headers": host("destination") }] }]);
    let authority = |http: Value| Setting::default().routes(http)[0]["route"]["host_rewrite_literal"].clone();
    assert_eq!(authority(rule(json!({ "authority": "rewrite" }), host("rule"))), "rewrite");
    assert_eq!(authority(rule(json!({ "uri": "/x" }), host("rule"))), "rule");
    assert_eq!(authority(rule(Value::Null, Value::Null)), "destination");
}

#[test]
fn redirects_leave_out_default_ports() {
    let redirect = |setting: &Setting, redirect: Value| setting.routes(json!([{ "redirect": redirect }]))[0]["redirect"].clone();
    let plain = Setting::default();
    let https = Setting { port: 443, tls: true, ..Setting::default() };
    let derived = json!({ "authority": "new", "uri": "/n", "derivePort": "FROM_REQUEST_PORT" });
    assert_eq!(redirect(&plain, derived.clone()), json!({ "host_redirect": "new", "path_redirect": "/n" }));
    assert_eq!(redirect(&https, derived.clone()), json!({ "host_redirect": "new", "path_redirect": "/n" }));
    let other = Setting { port: 8080, ..Setting::default() };
    assert_eq!(redirect(&other, derived)["port_redirect"], 8080);
    assert_eq!(
        redirect(&plain, json!({ "uri": "/n", "scheme": "https", "port": 443, "redirectCode": 308 })),
        json!({ "path_redirect": "/n", "scheme_redirect": "https", "response_code": "PERMANENT_REDIRECT" })
    );
    assert_eq!(redirect(&https, json!({ "uri": "/n", "port": 80 }))["port_redirect"], 80);
}

#[test]
fn retries_follow_rule_then_mesh_then_istio() {
    let policy = |setting: &Setting, rule: Value| setting.routes(json!([rule]))[0]["route"]["retry_policy"].clone();
    let mesh = Setting {
        defaults: RouteDefaults {
            retries: serde_json::from_value(json!({ "attempts": 7, "retryOn": "5xx" })).unwrap(),
            ..Default::default()
        },
        ..Setting::default()
    };
    assert_eq!(policy(&mesh, json!({ "route": to("reviews") }))["num_retries"], 7);
    assert_eq!(policy(&mesh, json!({ "route": to("reviews"), "retries": { "attempts": 0 } })), Value::Null);
    let own = policy(
        &Setting::default(),
        json!({ "route": to("reviews"), "retries": {
            "attempts": 3, "retryOn": "503, reset,429", "perTryTimeout": "2s", "backoff": "25ms",
            "retryRemoteLocalities": true, "retryIgnorePreviousHosts": false
        } }),
    );
    assert_eq!(
        own,
        json!({
            "retry_on": "reset,retriable-status-codes",
            "retriable_status_codes": [503, 429],
            "num_retries": 3,
            "per_try_timeout": "2s",
            "retry_back_off": { "base_interval": "0.025s" },
            "retry_priority": {
                "name": "envoy.retry_priorities.previous_priorities",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                    "update_frequency": 2
                }
            },
            "host_selection_retry_max_attempts": "5"
        })
    );
}

#[test]
fn a_hash_of_the_destination_keeps_retries_on_its_endpoint() {
    let setting = Setting::hashed("reviews", json!({ "httpCookie": { "name": "id", "path": "/", "ttl": "0s" } }));
    let route = setting.routes(json!([{ "route": to("reviews") }])).remove(0);
    assert_eq!(route["route"]["cluster"], "outbound|8080||reviews.shop.svc.cluster.local");
    assert_eq!(route["route"]["hash_policy"], json!([{ "cookie": { "name": "id", "path": "/", "ttl": "0s" } }]));
    assert_eq!(route["route"]["retry_policy"]["retry_host_predicate"], Value::Null);
}

#[test]
fn faults_mirrors_cors_and_time_limits() {
    let route = Setting::default()
        .routes(json!([{
            "route": to("reviews"),
            "timeout": "1.5s",
            "fault": {
                "delay": { "fixedDelay": "7s", "percentage": { "value": 12.5 } },
                "abort": { "grpcStatus": "UNAVAILABLE" }
            },
            "mirror": { "host": "copy", "subset": "v2" },
            "mirrors": [
                { "destination": { "host": "none" }, "percentage": { "value": 0 } },
                { "destination": { "host": "tenth" }, "percentage": { "value": 0.1 } }
            ],
            "corsPolicy": {
                "allowOrigins": [{ "exact": "https://a" }], "allowMethods": ["GET", "PUT"], "maxAge": "24h",
                "allowCredentials": false, "unmatchedPreflights": "IGNORE"
            }
        }]))
        .remove(0);
    assert_eq!((&route["route"]["timeout"], &route["route"]["max_grpc_timeout"]), (&json!("1.500s"), &json!("1.500s")));
    let mirror = |cluster: &str, share: Value| json!({ "cluster": cluster, "runtime_fraction": { "default_value": share }, "trace_sampled": false, "disable_shadow_host_suffix_append": true });
    assert_eq!(
        route["route"]["request_mirror_policies"],
        json!([
            mirror("outbound|80|v2|copy.shop.svc.cluster.local", json!({ "numerator": 100 })),
            mirror("outbound|80||tenth.shop.svc.cluster.local", json!({ "numerator": 1000, "denominator": "MILLION" }))
        ])
    );
    assert_eq!(
        route["typed_per_filter_config"],
        json!({
            "envoy.filters.http.fault": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                "delay": { "fixed_delay": "7s", "percentage": { "numerator": 125_000, "denominator": "MILLION" } },
                "abort": { "grpc_status": 14 }
            },
            "envoy.filters.http.cors": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
                "allow_origin_string_match": [{ "exact": "https://a" }],
                "allow_methods": "GET,PUT",
                "max_age": "86400",
                "allow_credentials": false,
                "filter_enabled": { "default_value": { "numerator": 100 } },
                "forward_not_matching_preflights": false
            }
        })
    );
}

#[test]
fn a_rule_that_envoy_would_refuse_answers_500_and_is_reported() {
    let weightless = json!([{ "match": [{ "uri": { "exact": "/a" } }], "route": [{ "destination": { "host": "a" } }, { "destination": { "host": "b" } }] }]);
    let (routes, diagnostics) = Setting::default().build(weightless);
    assert_eq!(to_json(&routes[0])["direct_response"], json!({ "status": 500 }));
    assert_eq!(diagnostics[0].field, "spec.http[0].route");
    let (routes, diagnostics) =
        Setting::default().build(json!([{ "redirect": { "uri": "/", "redirectCode": 200 } }, { "route": to("b") }]));
    assert_eq!(to_json(&routes[0])["direct_response"], json!({ "status": 500 }));
    assert_eq!(diagnostics[0].field, "spec.http[0].redirect.redirectCode");
    let (_, diagnostics) = Setting::default().build(json!([{ "match": [{ "port": 9 }], "redirect": { "redirectCode": 200 } }]));
    assert_eq!(diagnostics, []);
}

#[test]
fn routes_without_virtual_service() {
    let retries = Setting::default().routes(json!([{ "route": to("reviews") }]))[0]["route"]["retry_policy"].clone();
    let outbound = default_route(&DefaultRouteInputs { hostname: "reviews.shop", port: 9080, retries: None, hash: None, session: None });
    assert_eq!(
        to_json(&outbound),
        json!({
            "name": "default",
            "match": { "prefix": "/" },
            "route": { "cluster": "outbound|9080||reviews.shop", "timeout": "0s", "max_grpc_timeout": "0s", "retry_policy": retries },
            "decorator": { "operation": "reviews.shop:9080/*" }
        })
    );
    let inputs = InboundRouteInputs { cluster: "inbound|8080||", hostname: "reviews.shop", service_port: 9080, grpc: false, retries: None };
    let bytes = inbound_route_configuration(&inputs).to_bytes();
    assert_eq!(
        xds_wire::json::to_json(RouteConfiguration::TYPE_URL, &bytes).unwrap(),
        json!({
            "name": "inbound|8080||",
            "virtual_hosts": [{
                "name": "inbound|http|9080",
                "domains": ["*"],
                "routes": [{
                    "name": "default",
                    "match": { "prefix": "/" },
                    "route": {
                        "cluster": "inbound|8080||",
                        "timeout": "0s",
                        "retry_policy": { "retry_on": "reset-before-request", "num_retries": 2 },
                        "max_stream_duration": { "max_stream_duration": "0s", "grpc_timeout_header_max": "0s" }
                    },
                    "decorator": { "operation": "reviews.shop:9080/*" }
                }]
            }],
            "validate_clusters": false
        })
    );
}

#[test]
fn a_route_configuration_from_pieces_equals_the_whole() {
    let (routes, _) = Setting::default().build(json!([{ "route": to("reviews") }]));
    let host = virtual_host(VirtualHostInputs {
        host: "reviews".to_string(),
        port: 80,
        domains: vec!["reviews".to_string(), "10.0.0.1".to_string()],
        routes,
        counts_attempts: true,
        https_redirect: true,
        offers_http3: false,
    });
    let hosts = vec![host, allow_any(names::PASSTHROUGH_CLUSTER), allow_any_dynamic_dns(), block_all(), blackhole(80)];
    let whole = RouteConfiguration {
        name: "80".to_string(),
        virtual_hosts: hosts.clone(),
        validate_clusters: Some(false.into()),
        max_direct_response_body_size_bytes: Some(1_048_576.into()),
        ignore_port_in_host_matching: true,
        ..Default::default()
    };
    let pieces: Vec<_> = hosts.iter().map(encode_virtual_host).collect();
    let (start, end) = route_configuration(&RouteConfigurationInputs { name: "80", ignore_port_in_host_matching: true });
    assert_eq!([&[start], pieces.as_slice(), &[end]].concat().concat(), whole.to_bytes());
    for (host, piece) in whole.virtual_hosts.iter().zip(&pieces) {
        assert_eq!(decode_virtual_host(piece).as_ref(), Some(host));
        let mut bare = host.clone();
        bare.routes.clear();
        assert_eq!(encode_virtual_host_with(bare, &encode_routes(&host.routes)), piece);
    }
}
