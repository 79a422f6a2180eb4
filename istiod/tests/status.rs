//! What istiod tells users of their objects: conditions in a real API server, and Envoy's own words.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod istiod;

use ads_client::{Proxy, node};
use istiod::Istiod;
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use testkit::kube::ApiServer;

/// A proxy on the plaintext port that can refuse.
mod ads_client {
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::{Request, Streaming, client::Grpc, transport::Endpoint};
    use tonic_prost::ProstCodec;
    use xds_api::{
        envoy::{
            config::core::v3::Node,
            service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
        },
        google::{
            protobuf::{Struct, Value, value::Kind},
            rpc::Status,
        },
    };

    pub struct Proxy {
        requests: mpsc::Sender<DeltaDiscoveryRequest>,
        responses: Streaming<DeltaDiscoveryResponse>,
    }

    pub fn node() -> Node {
        let value = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let metadata = [("NAMESPACE", "shop"), ("CLUSTER_ID", "Kubernetes")];
        Node {
            id: "sidecar~10.0.0.9~cart-0.shop~shop.svc.cluster.local".into(),
            metadata: Some(Struct { fields: metadata.into_iter().map(|(key, text)| (key.to_owned(), value(text))).collect() }),
            ..Default::default()
        }
    }

    impl Proxy {
        pub async fn connect(address: &str, node: Node, type_url: &str) -> (Self, DeltaDiscoveryResponse) {
            let (requests, outgoing) = mpsc::channel(8);
            let first = DeltaDiscoveryRequest { node: Some(node), type_url: type_url.to_owned(), ..Default::default() };
            requests.send(first).await.unwrap();
            let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
            let mut grpc = Grpc::new(channel);
            grpc.ready().await.unwrap();
            let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
            let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources".parse().unwrap();
            let mut responses = grpc.streaming(Request::new(ReceiverStream::new(outgoing)), path, codec).await.unwrap().into_inner();
            let first = responses.message().await.unwrap().unwrap();
            (Self { requests, responses }, first)
        }

        /// Accepts, or refuses with Envoy's words.
        pub async fn answer(&self, response: &DeltaDiscoveryResponse, refusal: Option<&str>) {
            let error_detail = refusal.map(|message| Status { code: 13, message: message.to_owned(), details: Vec::new() });
            let (type_url, response_nonce) = (response.type_url.clone(), response.nonce.clone());
            self.requests.send(DeltaDiscoveryRequest { type_url, response_nonce, error_detail, ..Default::default() }).await.unwrap();
        }

        pub async fn next(&mut self) -> DeltaDiscoveryResponse {
            let next = tokio::time::timeout(std::time::Duration::from_secs(20), self.responses.message());
            next.await.unwrap().unwrap().unwrap()
        }
    }
}

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

fn object(server: &ApiServer, kind: &str, name: &str) -> Value {
    serde_json::from_str(&server.kubectl(&["get", kind, name, "-n", "shop", "-o", "json"]).unwrap()).unwrap()
}

/// `True Reason: message` of a condition.
fn condition(object: &Value, wanted: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == wanted).cloned().unwrap_or_default();
    let word = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    format!("{} {}: {}", word("status"), word("reason"), word("message"))
}

/// Waits until a condition begins as given, and returns how long that took.
fn wait_for(server: &ApiServer, kind: &str, name: &str, condition_type: &str, wanted: &str) -> Duration {
    let start = Instant::now();
    loop {
        let found = object(server, kind, name);
        let is_new = found["status"]["observedGeneration"] == found["metadata"]["generation"];
        if is_new && condition(&found, condition_type).starts_with(wanted) {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{wanted} is missing: {:#}", found["status"]);
        std::thread::sleep(Duration::from_millis(50));
    }
}

const ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: books, namespace: shop}
spec: {hosts: [books.example.com], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}
";
const ROUTE: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: books, namespace: shop}
spec: {hosts: [books.example.com], http: [{route: [{destination: {host: books.example.com}}]}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn users_see_what_became_of_their_objects() {
    let Some(server) = ApiServer::start().unwrap() else { return };
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    server.kubectl(&["apply", "--server-side", "-f", &crds.display().to_string()]).unwrap();
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).unwrap();
    for namespace in ["istio-system", "shop"] {
        server.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    server.kubectl_with(ENTRY, &["apply", "-f", "-"]).unwrap();
    server.kubectl_with(ROUTE, &["apply", "-f", "-"]).unwrap();
    let istiod = Istiod::start_in_cluster(&server.kubeconfig(), &[]);

    // What is right says so, and has its automatic addresses.
    wait_for(&server, "se", "books", "Accepted", "True Accepted");
    wait_for(&server, "vs", "books", "ResolvedRefs", "True ResolvedRefs");
    let addresses = object(&server, "se", "books")["status"]["addresses"].clone();
    assert_eq!(addresses[0]["host"], "books.example.com");
    assert!(addresses[0]["value"].as_str().unwrap().starts_with("240.240."), "{addresses}");

    // What names something that does not exist, and heals.
    server
        .kubectl_with(
            &ROUTE.replace("destination: {host: books.example.com}", "destination: {host: books.example.com, subset: new}"),
            &["apply", "-f", "-"],
        )
        .unwrap();
    wait_for(&server, "vs", "books", "ResolvedRefs", "False NotFound");
    server.kubectl_with(ROUTE, &["apply", "-f", "-"]).unwrap();
    wait_for(&server, "vs", "books", "ResolvedRefs", "True");

    // What only istiod refuses, while no webhook asks it. The former version stays.
    server
        .kubectl_with(&ROUTE.replace("host: books.example.com}}]", "host: books.example.com}, weight: -1}]"), &["apply", "-f", "-"])
        .unwrap();
    wait_for(&server, "vs", "books", "Accepted", "False Refused: spec.http[0].route[0].weight: ");
    let events = server.kubectl(&["describe", "vs", "books", "-n", "shop"]).unwrap();
    assert!(events.contains("Warning  Refused"), "{events}");
    server.kubectl_with(ROUTE, &["apply", "-f", "-"]).unwrap();
    wait_for(&server, "vs", "books", "Accepted", "True");

    // A refusal by a proxy appears on the object that caused it within 2 s, in Envoy's words, and disappears.
    let (mut proxy, first) = Proxy::connect(&istiod.grpc, node(), CLUSTERS).await;
    let books = first.resources.iter().map(|resource| resource.name.clone()).find(|name| name.contains("books")).unwrap();
    let said = format!("Error adding/updating cluster(s) {books}: no such thing");
    let refused = Instant::now();
    proxy.answer(&first, Some(&said)).await;
    wait_for(&server, "se", "books", "Programmed", &format!("False RefusedByProxy: {said}"));
    assert!(refused.elapsed() < Duration::from_secs(2), "{:?}", refused.elapsed());
    server.kubectl_with(&ENTRY.replace("number: 80", "number: 8080"), &["apply", "-f", "-"]).unwrap();
    loop {
        let response = proxy.next().await;
        proxy.answer(&response, None).await;
        if response.resources.iter().any(|resource| resource.name.contains("8080")) {
            break;
        }
    }
    let mended = Instant::now();
    wait_for(&server, "se", "books", "Programmed", "True");
    assert!(mended.elapsed() < Duration::from_secs(3), "{:?}", mended.elapsed());

    // And then nothing is written any more.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let version = |kind: &str| object(&server, kind, "books")["metadata"]["resourceVersion"].clone();
    let before = (version("se"), version("vs"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((version("se"), version("vs")), before);
}
