//! Rotations in a real process, with a proxy that is slow to acknowledge.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod client;
mod istiod;

use ca::{api::ProxyConfig, authenticate::ClientCertificate};
use client::{Client, Held, node};
use istiod::Istiod;
use prost::Message;
use xds_api::envoy::service::discovery::v3::DeltaDiscoveryResponse;

const OBJECTS: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}";
const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ROOTS: &str = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";

/// The roots in a response of PCDS.
fn roots(response: &DeltaDiscoveryResponse) -> Vec<String> {
    let content = &response.resources[0].resource.as_ref().unwrap().value;
    ProxyConfig::decode(content.clone()).unwrap().ca_certificates_pem
}

fn phase(istiod: &Istiod, wanted: &str) {
    istiod.wait_for("/debug/ca", |_, page| page.contains(&format!(r#""phase":"{wanted}""#)));
}

fn identity(held: &Held) -> String {
    let der = ca::pem::certificates(&held.chain[0]).unwrap().remove(0);
    ClientCertificate::read(&der).unwrap().identity.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_root_waits_for_the_proxy_that_has_not_acknowledged() {
    let istiod = Istiod::start(OBJECTS);
    let bundle = istiod.path("ca/root-cert.pem");
    let (cart, token) = (node("cart-0", "shop", "cart"), istiod.token(&["--namespace=shop", "--serviceAccount=cart"]));
    let newcomer = Client::new(&istiod.secured, &bundle, None);
    let old = newcomer.certificate_of(Some(&token), &cart.id).await.unwrap();
    let mut stream = newcomer.stream(cart.clone(), Some(&token), ROOTS).await.unwrap();
    let first = roots(&stream.first);
    assert_eq!(first.len(), 1);
    stream.accept(&stream.first).await;

    assert_eq!(istiod.post("/debug/ca?order=new-root").0, 200);
    let distributed = stream.next().await.unwrap();
    assert_eq!((roots(&distributed).len(), &roots(&distributed)[0]), (2, &first[0]));
    istiod.wait_for("/debug/ca", |_, page| page.contains("has not accepted the new roots") && page.contains(&cart.id));
    phase(&istiod, "distributing");
    stream.accept(&distributed).await;
    phase(&istiod, "signing");
    istiod.wait_for("/debug/ca", |_, page| page.contains("its certificate is of the old generation"));
    assert_eq!(ca::pem::certificates(&std::fs::read_to_string(&bundle).unwrap()).unwrap().len(), 2);

    // The old certificate is good for the new one.
    let new = Client::new(&istiod.secured, &bundle, Some(&old)).certificate_of(None, &cart.id).await.unwrap();
    assert_eq!(ca::pem::certificates(new.chain.last().unwrap()).unwrap().len(), 2);
    phase(&istiod, "settled");
    let last = stream.next().await.unwrap();
    assert_eq!(roots(&last).len(), 1);
    assert_ne!(roots(&last), first);

    let bundle_now = istiod.path("ca/root-cert.pem");
    Client::new(&istiod.secured, &bundle_now, Some(&new)).certificate(None).await.unwrap();
    assert!(Client::new(&istiod.secured, &bundle_now, Some(&old)).certificate(None).await.is_err(), "the old root is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_domain_changes_when_the_mesh_configuration_says_so() {
    let istiod = Istiod::start(OBJECTS);
    let bundle = istiod.path("ca/root-cert.pem");
    let (cart, token) = (node("cart-0", "shop", "cart"), istiod.token(&["--namespace=shop", "--serviceAccount=cart"]));
    let newcomer = Client::new(&istiod.secured, &bundle, None);
    let old = newcomer.certificate_of(Some(&token), &cart.id).await.unwrap();
    let stream = newcomer.stream(cart.clone(), Some(&token), CLUSTERS).await.unwrap();
    std::fs::write(istiod.path("mesh"), "trustDomain: mesh.example\n").unwrap();
    istiod.wait_for("/debug/ca", |_, page| page.contains("has not accepted the configuration with both trust domains"));
    let between = newcomer.certificate_of(Some(&token), &cart.id).await.unwrap();
    assert_eq!(identity(&between), "spiffe://cluster.local/ns/shop/sa/cart");
    stream.accept(&stream.first).await;
    phase(&istiod, "signing");
    let renewed = Client::new(&istiod.secured, &bundle, Some(&old)).certificate_of(None, &cart.id).await.unwrap();
    assert_eq!(identity(&renewed), "spiffe://mesh.example/ns/shop/sa/cart");
    phase(&istiod, "settled");
    assert!(Client::new(&istiod.secured, &bundle, Some(&old)).certificate(None).await.is_err(), "the old trust domain is no alias");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugged_in_ca_takes_the_place_of_a_self_signed_root() {
    let istiod = Istiod::start(OBJECTS);
    let bundle = istiod.path("ca/root-cert.pem");
    let token = istiod.token(&["--namespace=shop", "--serviceAccount=cart"]);
    let newcomer = Client::new(&istiod.secured, &bundle, None);
    let old = newcomer.certificate(Some(&token)).await.unwrap();
    phase(&istiod, "settled");
    let now = std::time::SystemTime::now();
    let plugged = ca::generate("plugged.example", ca::KeyAlgorithm::EcdsaP256, std::time::Duration::from_secs(86_400), now).unwrap();
    let folder = istiod.path("cacerts");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("ca-cert.pem"), &plugged.certificate).unwrap();
    std::fs::write(folder.join("ca-key.pem"), &plugged.key).unwrap();
    // What is not complete yet changes nothing.
    Client::new(&istiod.secured, &bundle, Some(&old)).certificate(None).await.unwrap();
    std::fs::write(folder.join("root-cert.pem"), &plugged.roots).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let held = Client::new(&istiod.secured, &bundle, None).certificate(Some(&token)).await.unwrap();
        if held.chain[1] == plugged.roots {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the old root is still there");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(std::fs::read_to_string(&bundle).unwrap(), plugged.roots);
}
