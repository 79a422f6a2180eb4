//! `proxy-config` over a saved dump, an Envoy's admin port and istiod.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod istioctl;

use istioctl::{failure, serve, shown};
use serde_json::Value;

const DUMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dump.json");

fn of_dump(arguments: &[&str]) -> String {
    shown(&[&["proxy-config"], arguments, &["-f", DUMP]].concat())
}

/// The first column, without the heading.
fn first_column(table: &str) -> Vec<&str> {
    table.lines().skip(1).filter_map(|line| line.split("  ").next()).collect()
}

#[test]
fn clusters() {
    let all = "\
SERVICE FQDN                       PORT     SUBSET     DIRECTION     TYPE                                     DESTINATION RULE
                                   9080     -          inbound       ORIGINAL_DST
*.example.org                      80       -          outbound      envoy.clusters.dynamic_forward_proxy
PassthroughCluster                 -        -          -             ORIGINAL_DST
api.example.com                    443      -          outbound      STRICT_DNS
reviews.shop.svc.cluster.local     9080     -          outbound      EDS                                      reviews.shop
reviews.shop.svc.cluster.local     9080     v2         outbound      EDS                                      reviews.shop
xds-grpc                           -        -          -             STATIC
";
    assert_eq!(of_dump(&["cluster"]), all);
    assert_eq!(of_dump(&["c"]), all);
    assert_eq!(first_column(&of_dump(&["clusters", "--fqdn", "example"])), ["*.example.org", "api.example.com"]);
    assert_eq!(of_dump(&["c", "--subset", "v2"]).lines().count(), 2);
    assert_eq!(of_dump(&["c", "--port", "9080"]).lines().count(), 4);
    assert_eq!(of_dump(&["c", "--direction", "inbound"]).lines().count(), 2);
    assert!(failure(&["pc", "c", "-f", DUMP, "--direction", "up"]).contains("inbound"));
}

#[test]
fn listeners() {
    let all = "\
ADDRESSES      PORT      MATCH                                               DESTINATION
10.0.0.5       5432      ALL                                                 Weighted clusters: a 80, b 20
0.0.0.0        9080      Trans: raw_buffer; App: HTTP                        Route: 9080
0.0.0.0,::     15006     ALL                                                 PassthroughCluster
0.0.0.0,::     15006     Addr: *:15006                                       Non-HTTP/Non-TCP
0.0.0.0,::     15006     SNI: a.example; App: h3; Addr: 0.0.0.0/0            Inline Route: a/b /x, regex /y.*
0.0.0.0,::     15006     Trans: tls; App: Istio HTTP Plain; Addr: *:9080     Cluster: inbound|9080||
";
    assert_eq!(of_dump(&["listener"]), all);
    let short = "\
ADDRESSES      PORT      TYPE
10.0.0.5       5432      TCP
0.0.0.0        9080      HTTP
0.0.0.0,::     15006     HTTP+TCP
";
    assert_eq!(of_dump(&["l", "--verbose=false"]), short);
    assert_eq!(first_column(&of_dump(&["l", "--type", "tcp"])), ["10.0.0.5"]);
    assert_eq!(first_column(&of_dump(&["l", "--port", "9080"])), ["0.0.0.0"]);
    assert_eq!(of_dump(&["listeners", "--address", "::"]).lines().count(), 5);
}

#[test]
fn routes() {
    let all = "\
NAME          VHOST NAME                              DOMAINS                               MATCH               VIRTUAL SERVICE
9080          reviews.shop.svc.cluster.local:9080     reviews, reviews.shop + 2 more...     PathPrefix:/api     reviews.shop
9080          reviews.shop.svc.cluster.local:9080     reviews, reviews.shop + 2 more...     /*                  <unknown>
http.8080     blackhole:8080                          *                                     /*                  404
";
    assert_eq!(of_dump(&["route"]), all);
    assert_eq!(of_dump(&["r", "--verbose=false"]), "NAME          VIRTUAL HOSTS\n80            0\n9080          2\nhttp.8080     1\n");
    assert_eq!(of_dump(&["routes", "--name", "http.8080"]).lines().count(), 2);
}

#[test]
fn endpoints() {
    let all = "\
ENDPOINT                                    STATUS       OUTLIER CHECK     CLUSTER
10.1.0.7:9080                               HEALTHY      -                 outbound|9080||reviews.shop.svc.cluster.local
10.1.0.8:9080                               DRAINING     -                 outbound|9080||reviews.shop.svc.cluster.local
api.example.com:443                         UNKNOWN      -                 outbound|443||api.example.com
envoy://connect_originate/10.1.0.9:9080     HEALTHY      -                 outbound|9080||reviews.shop.svc.cluster.local
unix:///run/app.sock                        UNKNOWN      -                 outbound|9080||reviews.shop.svc.cluster.local
";
    assert_eq!(of_dump(&["endpoint"]), all);
    assert_eq!(first_column(&of_dump(&["ep", "--status", "draining"])), ["10.1.0.8:9080"]);
    assert_eq!(first_column(&of_dump(&["ep", "--cluster", "outbound|443||api.example.com"])), ["api.example.com:443"]);
    assert_eq!(first_column(&of_dump(&["endpoints", "--address", "10.1.0.7", "--port", "9080"])), ["10.1.0.7:9080"]);
}

#[test]
fn everything_and_the_formats_for_programs() {
    let all = of_dump(&["all"]);
    for heading in ["SERVICE FQDN", "ADDRESSES", "NAME", "ENDPOINT"] {
        assert!(all.lines().any(|line| line.starts_with(heading)), "{all}");
    }
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(DUMP).unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&of_dump(&["all", "-o", "json"])).unwrap(), saved);

    let clusters: Value = serde_json::from_str(&of_dump(&["c", "--fqdn", "reviews", "-o", "json"])).unwrap();
    assert_eq!(clusters[0]["name"], "outbound|9080||reviews.shop.svc.cluster.local");
    assert_eq!(clusters.as_array().unwrap().len(), 2);
    let endpoints = of_dump(&["ep", "--status", "draining", "-o", "yaml"]);
    assert!(endpoints.contains("10.1.0.8") && !endpoints.contains("10.1.0.7"), "{endpoints}");
}

#[test]
fn an_envoy_says_which_endpoints_fail() {
    let envoy = serve(&[(
        "/clusters?format=json",
        r#"{"cluster_statuses": [{"name": "a", "host_statuses": [
            {"address": {"socket_address": {"address": "10.1.0.2", "port_value": 80}}, "health_status": {"failed_outlier_check": true, "eds_health_status": "HEALTHY"}},
            {"address": {"socket_address": {"address": "10.1.0.1", "port_value": 80}}, "health_status": {"eds_health_status": "UNHEALTHY"}}
        ]}]}"#,
    )]);
    let table = "\
ENDPOINT        STATUS        OUTLIER CHECK     CLUSTER
10.1.0.1:80     UNHEALTHY     OK                a
10.1.0.2:80     HEALTHY       FAILED            a
";
    assert_eq!(shown(&["pc", "ep", "--envoy-admin", &envoy]), table);
    assert_eq!(first_column(&shown(&["pc", "ep", "--envoy-admin", &format!("http://{envoy}/"), "--status", "healthy"])), ["10.1.0.2:80"]);
}

#[test]
fn istiod_is_asked_for_the_named_or_the_only_proxy() {
    let istiod = serve(&[
        ("/debug/syncz", r#"[{"proxy": "a.shop"}]"#),
        ("/debug/config_dump?proxyID=a.shop&include_eds", include_str!("dump.json")),
    ]);
    let table = of_dump(&["c"]);
    assert_eq!(shown(&["--istiod", &istiod, "pc", "c"]), table);
    assert_eq!(shown(&["pc", "c", "a.shop", "--istiod", &istiod]), table);
    assert!(failure(&["pc", "c", "b.shop", "--istiod", &istiod]).contains("404 Not Found: no page"));

    let several = serve(&[("/debug/syncz", r#"[{"proxy": "b.shop"}, {"proxy": "a.shop"}]"#)]);
    assert!(failure(&["pc", "c", "--istiod", &several]).ends_with("name one of the connected proxies:\n  a.shop\n  b.shop\n"));
}

#[test]
fn errors_say_what_to_do() {
    assert!(failure(&["pc", "c", "--istiod", "127.0.0.1:1"]).contains("--istiod"));
    assert!(failure(&["pc", "c", "--envoy-admin", "127.0.0.1:1"]).contains("admin address"));
    assert!(failure(&["pc", "c", "--envoy-admin", "https://127.0.0.1:1"]).contains("only http"));
    assert!(failure(&["pc", "c", "-f", "nowhere.json"]).contains("nowhere.json: No such file"));
    assert!(failure(&["pc", "c", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]).contains("not JSON"));
}
