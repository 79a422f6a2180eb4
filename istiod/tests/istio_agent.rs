//! What Istio's own agent says on its stream to istiod beside what Envoy says: it must get what it waits for, and nothing that
//! it does not expect.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod client;
mod istiod;

use client::{Client, node};
use istiod::Istiod;
use xds_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const NAMES: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";
const ROOTS: &str = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";
const HEALTH: &str = "type.googleapis.com/istio.v1.HealthInformation";
const EXTENSIONS: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

#[tokio::test(flavor = "multi_thread")]
async fn its_questions_are_answered_and_its_reports_are_not() {
    let istiod = Istiod::start("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    let token = istiod.token(&["--namespace=shop", "--serviceAccount=cart"]);
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None);
    // Its request for a certificate names a signer without a name; see the client.
    client.certificate(Some(&token)).await.unwrap();

    let mut stream = client.stream(node("cart-0", "shop", "cart"), Some(&token), CLUSTERS).await.unwrap();
    stream.accept(&stream.first).await;
    // Without a node, which only the first message has, and without names.
    for type_url in [LISTENERS, NAMES, ROOTS, HEALTH, EXTENSIONS] {
        stream.requests.send(DeltaDiscoveryRequest { type_url: type_url.to_owned(), ..Default::default() }).await.unwrap();
    }
    let mut answers = Vec::new();
    while answers.len() < 4 {
        let answer = stream.next().await.unwrap();
        stream.accept(&answer).await;
        answers.push((answer.type_url, answer.resources.len()));
    }
    let of = |wanted: &str| answers.iter().find(|(type_url, _)| type_url == wanted).map(|(_, resources)| *resources);
    assert!(of(LISTENERS).is_some_and(|listeners| listeners > 0), "{answers:?}");
    assert_eq!((of(NAMES), of(ROOTS), of(EXTENSIONS)), (Some(0), Some(1), Some(0)), "{answers:?}");
    assert_eq!(of(HEALTH), None);
    // The acknowledgements of nothing were no questions: the next answer is that to the next question.
    stream.requests.send(DeltaDiscoveryRequest { type_url: NAMES.to_owned(), ..Default::default() }).await.unwrap();
    assert_eq!(stream.next().await.unwrap().type_url, NAMES);
}
