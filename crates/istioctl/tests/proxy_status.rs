//! `proxy-status` and `version` against canned pages.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod istioctl;

use istioctl::{failure, istioctl, serve, shown};
use serde_json::Value;

const SYNCZ: &str = r#"[
  {"cluster_id": "Kubernetes", "proxy": "b.shop", "proxy_type": "sidecar", "istio_version": "1.30.0",
   "cluster_sent": "n1", "cluster_acked": "n1", "listener_sent": "n4", "listener_acked": "n2", "route_sent": "n3",
   "endpoint_sent": "n5", "endpoint_acked": "n5",
   "resources": {"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment": {"sent": "n5", "acked": "n5", "lastError": "bad address"}}},
  {"proxy": "a.shop", "proxy_type": "router"}
]"#;

#[test]
fn every_word_of_the_table() {
    let istiod = serve(&[("/debug/syncz", SYNCZ)]);
    let width = istiod.len() + 5;
    let expected = format!(
        "\
NAME       CLUSTER        CDS          LDS          EDS          RDS                            ECDS         {:<width$}VERSION
a.shop     -              NOT SENT     NOT SENT     NOT SENT     NOT SENT                       NOT SENT     {istiod:<width$}-
b.shop     Kubernetes     SYNCED       STALE        ERROR        STALE (Never Acknowledged)     NOT SENT     {istiod:<width$}1.30.0

b.shop refuses EDS: bad address
",
        "ISTIOD"
    );
    assert_eq!(shown(&["proxy-status", "--istiod", &istiod]), expected);
    assert_eq!(shown(&["ps", "a.shop", "--istiod", &istiod]).lines().count(), 2);
    let json: Value = serde_json::from_str(&shown(&["ps", "b", "-o", "json", "--istiod", &istiod])).unwrap();
    assert_eq!(json[0]["listener_sent"], "n4");
    assert!(failure(&["ps", "c.shop", "--istiod", &istiod]).contains("no proxy named c.shop"));
}

#[test]
fn versions() {
    let istiod = serve(&[("/debug/syncz", SYNCZ), ("/version", "1.2.3\n")]);
    let expected = format!(
        "client version: {}\ncontrol plane version: 1.2.3\ndata plane version: unknown (1 proxy), 1.30.0 (1 proxy)\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(shown(&["version", "--istiod", &istiod]), expected);
    assert_eq!(shown(&["version", "--remote=false"]), expected.lines().next().unwrap().to_owned() + "\n");

    let alone = istioctl(&["version", "--istiod", "127.0.0.1:1"]);
    assert!(alone.status.success() && String::from_utf8_lossy(&alone.stderr).contains("--istiod"), "{alone:?}");
}
