//! A workload's agent against a real istiod, with a stock Envoy.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod istiod;
mod workload;

use istiod::Istiod;
use workload::{Workload, programs};

const OBJECTS: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bank, namespace: shop}
spec:
  hosts: [bank.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  location: MESH_INTERNAL
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, labels: {security.istio.io/tlsMode: istio}}]
";

#[test]
fn envoy_gets_its_identity_and_its_configuration_through_the_agent() {
    let Some(programs) = programs() else { return };
    let istiod = Istiod::start(OBJECTS);
    let mut workload = Workload::start(&istiod, &programs, "1h");
    let (name, _) = workload.wait("a certificate", || workload.certificate());
    assert_eq!(name, "spiffe://cluster.local/ns/shop/sa/cart");
    assert!(workload.counter("cluster_manager.cds.update_success").is_some_and(|count| count > 0));
    // The endpoints of the workload itself, which the bootstrap asks for.
    assert!(workload.counter("cluster.local_cluster.update_success").is_some_and(|count| count > 0));
    let metrics = workload.metrics();
    assert!(metrics.contains("istio_agent_num_outgoing_requests 1"), "{metrics}");
    assert!(!workload.bootstrap().contains("PRIVATE KEY"));
    assert!(workload.terminate().success());
    assert!(workload.envoy_is_gone());
}

#[test]
fn a_certificate_is_renewed_at_half_its_life_and_kept_while_istiod_is_away() {
    let Some(programs) = programs() else { return };
    let istiod = Istiod::start(OBJECTS);
    let workload = Workload::start(&istiod, &programs, "4s");
    let (_, first) = workload.wait("a certificate", || workload.certificate());
    let (name, next) = workload.wait("the next certificate", || workload.certificate().filter(|(_, serial)| *serial != first));
    assert_eq!(name, "spiffe://cluster.local/ns/shop/sa/cart");
    drop(istiod);
    let terminations = "istio_agent_istiod_connection_terminations ";
    workload.wait("Envoy has noticed", || {
        let text = workload.metrics();
        let count = text.lines().find_map(|line| line.strip_prefix(terminations)?.parse::<u64>().ok())?;
        (count > 0).then_some(())
    });
    assert!(workload.is_ready());
    assert!(workload.certificate().is_some_and(|(_, serial)| !serial.is_empty()), "{next} is gone");
}

#[test]
fn another_root_reaches_envoy_before_anybody_has_touched_a_file() {
    let Some(programs) = programs() else { return };
    let istiod = Istiod::start(OBJECTS);
    let workload = Workload::start(&istiod, &programs, "1m");
    let (first, roots) = (workload.wait("a certificate", || workload.certificate()), workload.roots());
    assert_eq!(roots.len(), 1);
    assert_eq!(istiod.post("/debug/ca?order=new-root").0, 200);
    workload.wait("Envoy has both roots", || (workload.roots().len() == 2).then_some(()));
    // Which comes sooner than the next step.
    let second = workload.wait("a certificate with both roots", || workload.certificate().filter(|now| *now != first));
    // Nobody is waited for any more: Envoy has accepted the roots, and the agent has said so.
    istiod.wait_for("/debug/ca", |_, page| page.contains(r#""phase":"signing""#));

    assert_eq!(istiod.post("/debug/ca?order=force").0, 200);
    // istiod's own certificate is of a root that the file does not have.
    workload.wait("the next certificate", || workload.certificate().filter(|now| *now != second));
    workload.wait("Envoy has the new root only", || (workload.roots().len() == 1 && workload.roots() != roots).then_some(()));
}
