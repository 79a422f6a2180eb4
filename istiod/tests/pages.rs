//! The pages of a real process, with a proxy connected that accepts its clusters and refuses its listeners.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod istiod;

use istiod::Istiod;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;
use xds_api::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    },
    google::rpc::Status,
};
use xds_wire::ResourceType;

const OBJECTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec:
  clusterIP: 10.0.0.1
  selector: {app: reviews}
  ports: [{name: http, port: 9080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: reviews-1, namespace: shop, labels: {kubernetes.io/service-name: reviews}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1], conditions: {ready: true}}]
ports: [{name: http, port: 9080}]
---
apiVersion: v1
kind: Secret
metadata: {name: shop-tls, namespace: shop}
data: {tls.key: dGhlLXByaXZhdGUta2V5, tls.crt: dGhlLWNlcnRpZmljYXRl}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: entrance, namespace: shop}
spec:
  selector: {app: entrance}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [entrance]
  http: [{route: [{destination: {host: reviews}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: lost, namespace: shop}
spec:
  hosts: [lost.example]
  gateways: [entrance]
  http: [{route: [{destination: {host: nowhere}}]}]
"#;

const NODE: &str = "router~10.2.0.1~entrance-1.shop~shop.svc.cluster.local";

/// A gateway that speaks delta xDS.
struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Proxy {
    async fn connect(address: &str) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.unwrap();
        let (requests, receiver) = mpsc::channel(16);
        let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources".parse().unwrap();
        let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
        let responses = grpc.streaming(tonic::Request::new(ReceiverStream::new(receiver)), path, codec).await.unwrap();
        Self { requests, responses: responses.into_inner() }
    }

    /// Subscribes, and accepts the answer or refuses it with `error`.
    async fn ask(&mut self, kind: ResourceType, names: &[&str], error: Option<&str>) {
        let metadata = xds_wire::json::from_json(
            "google.protobuf.Struct",
            &json!({"NAMESPACE": "shop", "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.30.0", "LABELS": {"app": "entrance"}}),
        );
        let metadata = xds_api::Wire::from_bytes(&metadata.unwrap()).unwrap();
        let request = DeltaDiscoveryRequest {
            node: Some(Node { id: NODE.to_owned(), metadata: Some(metadata), ..Node::default() }),
            type_url: kind.url().to_owned(),
            resource_names_subscribe: names.iter().map(|name| name.to_string()).collect(),
            ..Default::default()
        };
        self.requests.send(request).await.unwrap();
        let response = self.responses.message().await.unwrap().unwrap();
        let answer = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            error_detail: error.map(|message| Status { code: 13, message: message.to_owned(), ..Default::default() }),
            ..Default::default()
        };
        self.requests.send(answer).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_show_the_proxy_and_what_it_refuses() {
    let istiod = Istiod::start(OBJECTS);
    let mut proxy = Proxy::connect(&istiod.grpc).await;
    proxy.ask(ResourceType::Cluster, &[], None).await;
    proxy.ask(ResourceType::Endpoint, &["outbound|9080||reviews.shop.svc.cluster.local"], None).await;
    proxy.ask(ResourceType::Listener, &[], Some("Error adding/updating listener(s) 0.0.0.0_8080: no such filter")).await;
    istiod.wait_for("/debug/rejections", |_, body| body != "[]");

    let status = istiod.json("/debug/syncz")[0].clone();
    assert_eq!((&status["proxy"], &status["proxy_type"]), (&json!("entrance-1.shop"), &json!("router")));
    assert_eq!((&status["cluster_id"], &status["istio_version"]), (&json!("Kubernetes"), &json!("1.30.0")));
    assert!(status["cluster_sent"].is_string() && status["cluster_sent"] == status["cluster_acked"], "{status}");
    assert!(status["listener_sent"].is_string() && status["listener_acked"].is_null(), "{status}");
    assert!(status["resources"][ResourceType::Listener.url()]["lastError"].as_str().unwrap().contains("no such filter"));
    assert_eq!(istiod.json("/debug/syncz?namespace=other"), json!([]));

    let client = istiod.json("/debug/adsz?proxyID=entrance-1.shop")["clients"][0].clone();
    assert_eq!(client["labels"], json!({"app": "entrance"}));
    assert_eq!(client["watches"][ResourceType::Endpoint.url()], json!(["outbound|9080||reviews.shop.svc.cluster.local"]));

    let rejection = istiod.json("/debug/rejections")[0].clone();
    assert_eq!(rejection["proxy"], NODE);
    assert_eq!(rejection["resources"][0]["name"], "0.0.0.0_8080");
    let origins: BTreeSet<&str> = rejection["objects"].as_array().unwrap().iter().filter_map(|object| object["name"].as_str()).collect();
    assert!(origins.contains("entrance"), "{rejection}");

    let dump = istiod.json("/debug/config_dump?proxyID=entrance-1.shop&include_eds");
    let cluster = "outbound|9080||reviews.shop.svc.cluster.local";
    let clusters = part(&dump, "ClustersConfigDump")["dynamic_active_clusters"].as_array().unwrap().clone();
    assert!(clusters.iter().any(|row| row["cluster"]["name"] == cluster), "{clusters:?}");
    assert_eq!(part(&dump, "EndpointsConfigDump")["dynamic_endpoint_configs"][0]["endpoint_config"]["cluster_name"], cluster);
    assert_eq!(part(&dump, "ListenersConfigDump")["dynamic_listeners"][0]["name"], "0.0.0.0_8080");
    assert_eq!(part(&dump, "RoutesConfigDump")["dynamic_route_configs"], json!([]), "no routes were asked for");
}

#[test]
fn pages_show_objects_and_findings_and_never_secrets() {
    let istiod = Istiod::start(OBJECTS);
    let pages = istiod.json("/debug/list");
    for page in pages.as_array().unwrap() {
        let (status, body) = istiod.get(&format!("/debug/{}", page.as_str().unwrap()));
        assert!(status == 200 || page == "config_dump", "{page}: {status} {body}");
        assert!(!body.contains("the-private-key") && !body.contains("dGhlLXByaXZhdGUta2V5"), "{page}");
    }
    assert_eq!(istiod.get("/debug/config_dump").0, 400);
    assert_eq!(istiod.get("/debug/config_dump?proxyID=nobody.shop").0, 404);

    assert_eq!(istiod.json("/debug/registryz")[0]["hostname"], "reviews.shop.svc.cluster.local");
    let shards = &istiod.json("/debug/endpointz")["reviews.shop.svc.cluster.local"]["shop"]["Shards"];
    assert_eq!(shards["Kubernetes/Kubernetes"][0]["Addresses"], json!(["10.1.0.1"]));
    let kinds: Vec<Value> = istiod.json("/debug/configz").as_array().unwrap().iter().map(|object| object["kind"].clone()).collect();
    assert_eq!(kinds, ["VirtualService", "VirtualService", "Gateway"]);
    let findings = istiod.json("/debug/diagnosticsz");
    assert!(findings.as_array().unwrap().iter().any(|row| row["code"] == "IST0101" && row["object"]["name"] == "lost"), "{findings}");
}

#[test]
fn metrics_have_one_description_each() {
    let istiod = Istiod::start(OBJECTS);
    let (status, text) = istiod.get("/metrics");
    assert_eq!(status, 200);
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let once: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), once.len(), "{names:?}");
    for name in ["pilot_info", "istio_build", "istiod_uptime_seconds", "pilot_total_rejected_configs", "pilot_vservice_dup_domain"] {
        assert!(once.contains(name), "{name}");
    }
}

/// The part of a dump with this type.
fn part<'a>(dump: &'a Value, message: &str) -> &'a Value {
    let url = format!("type.googleapis.com/envoy.admin.v3.{message}");
    dump["configs"].as_array().unwrap().iter().find(|part| part["@type"] == url).unwrap()
}
