//! The order of changes leaves no trace, and a change builds no more than what it touches.

use std::path::Path;
use testkit::{
    case::{self, Case},
    report::{self, Failures, Verdict},
    shuffled::{self, Running},
};

#[test]
fn every_order_ends_in_what_a_fresh_build_gives() -> Result<(), Failures> {
    report::run("incremental", 2, |case| shuffled::check(case).map(|()| Verdict::Checked))
}

fn running(name: &str) -> anyhow::Result<Running> {
    let root = case::root();
    Running::start(&Case::read(&root, &root.join(Path::new(name)))?)
}

const CLUSTER: &str = "outbound|9080||catalog.shop.svc.cluster.local";

#[test]
fn an_endpoint_builds_the_assignments_of_its_service_and_nothing_else() -> anyhow::Result<()> {
    let mut running = running("route/weights")?;
    let (changed, [clusters, endpoints, routes, listeners]) = running.apply(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: catalog-2, namespace: shop, labels: {kubernetes.io/service-name: catalog}}
addressType: IPv4
ports:
- {name: http, port: 9080}
endpoints:
- addresses: [127.0.20.3]
",
    )?;
    // The whole service and its two subsets are built; the new endpoint has no labels, so the subsets stay as they are.
    assert_eq!(changed, [format!("eds {CLUSTER}")]);
    assert_eq!([clusters, endpoints, routes, listeners], [0, 3, 0, 0]);
    Ok(())
}

#[test]
fn a_virtual_service_changes_routes_only() -> anyhow::Result<()> {
    let mut running = running("route/weights")?;
    let (changed, [clusters, endpoints, ..]) = running.apply(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: catalog, namespace: shop}
spec:
  hosts: [catalog]
  http:
  - route: [{destination: {host: catalog, subset: v2}}]
",
    )?;
    assert_eq!(changed, ["rds 9080"]);
    assert_eq!([clusters, endpoints], [0, 0]);
    Ok(())
}

#[test]
fn a_destination_rule_changes_the_clusters_of_its_host_only() -> anyhow::Result<()> {
    let mut running = running("route/mirror")?;
    let (changed, [clusters, ..]) = running.apply(
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: catalog, namespace: shop}
spec:
  host: catalog
  trafficPolicy: {loadBalancer: {simple: RANDOM}}
",
    )?;
    assert_eq!(changed, [format!("cds {CLUSTER}"), format!("eds {CLUSTER}")]);
    assert_eq!(clusters, 1);
    Ok(())
}

#[test]
fn the_same_object_again_changes_nothing() -> anyhow::Result<()> {
    let mut running = running("route/weights")?;
    let root = case::root();
    let input = std::fs::read_to_string(root.join("route/weights/input.yaml"))?;
    let (changed, rows) = running.apply(&input)?;
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(rows, [0; 4]);
    Ok(())
}

#[test]
fn what_a_proxy_cannot_see_changes_nothing_for_it() -> anyhow::Result<()> {
    let mut running = running("route/weights")?;
    let (changed, _) = running.apply(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: private, namespace: elsewhere}
spec:
  hosts: [private.example.com]
  exportTo: ['.']
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.99.1}]
",
    )?;
    assert!(changed.is_empty(), "{changed:?}");
    Ok(())
}
