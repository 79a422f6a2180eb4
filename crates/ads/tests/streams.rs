//! Whole streams over gRPC: framing, large responses, limits, permits, and how a stream ends.

mod grpc;
mod script;

use ResourceType::{Cluster, Endpoint, Listener, Secret};
use grpc::*;
use script::{resource, view};
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;
use tonic::Code;
use xds_api::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    google::rpc::Status,
};
use xds_wire::{ResourceName, ResourceType, Resources, View};

const REMOTE: &str = "10.1.2.3:4000";

/// `count` clusters of `size` bytes and their endpoints.
fn large(revision: u64, count: usize, size: usize) -> Arc<View> {
    let mut view = View::new(revision);
    for kind in [Cluster, Endpoint] {
        let rows = (0..count).map(|i| {
            let name = format!("outbound|80||service-{i:05}");
            (ResourceName::from(name.as_str()), resource(kind, &name, &format!("{i}-").repeat(size / 6)))
        });
        view.set(kind, Resources::new(rows.collect()));
    }
    Arc::new(view)
}

#[tokio::test]
async fn a_delta_stream_from_start_to_end() {
    let server = TestServer::new(view(1, &[(Cluster, "a", "one"), (Listener, "l", "1")]));
    let mut client = server.delta(LOOPBACK).await;
    let first = client.ask(Cluster, &[]).await;
    assert_eq!(first.system_version_info, "1");
    assert_eq!(first.resources[0].resource.as_ref().unwrap().value, "one".as_bytes());
    client.accept(&first).await;
    server.fake.view.send_replace(view(2, &[(Listener, "l", "1")]));
    let second = client.next().await;
    assert_eq!((second.resources.len(), second.removed_resources.as_slice()), (0, ["a".to_owned()].as_slice()));
    let refusal = DeltaDiscoveryRequest {
        type_url: second.type_url.clone(),
        response_nonce: second.nonce,
        error_detail: Some(Status { code: 13, message: "cannot be".to_owned(), details: Vec::new() }),
        ..Default::default()
    };
    client.send(refusal).await;
    client.ask(Listener, &[]).await;
    assert_eq!(server.fake.rejections.lock().unwrap()[0].message, "cannot be");
    assert_eq!(
        (server.counted("pilot_xds"), server.counted("pilot_total_xds_rejects"), server.counted("pilot_xds_cds_reject")),
        (1.0, 1.0, 1.0)
    );

    let status = &server.connections.list()[0];
    assert_eq!(status.id, "sidecar~10.0.0.1~pod.shop~shop.svc.cluster.local-1");
    let clusters = &status.types[0];
    assert!(clusters.wildcard);
    assert_eq!(clusters.acknowledged.as_ref().unwrap().nonce.as_ref(), first.nonce);
    assert_eq!((clusters.sent.as_ref().unwrap().revision, clusters.error.as_deref()), (2, Some("cannot be")));
    let (node, seen) = server.connections.get_view("pod.shop").unwrap();
    assert_eq!((node.id.as_str(), seen.revision), ("sidecar~10.0.0.1~pod.shop~shop.svc.cluster.local", 2));

    drop(client);
    while *server.fake.connected.lock().unwrap() > 0 || !server.connections.list().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!((server.counted("pilot_xds"), server.counted("pilot_xds_cds_reject")), (0.0, 0.0));
}

#[tokio::test]
async fn a_state_of_the_world_stream() {
    let server = TestServer::new(view(7, &[(Cluster, "a", "one")]));
    let mut client = server.sotw(LOOPBACK).await;
    client.send(DiscoveryRequest { node: node("x"), type_url: Cluster.url().to_owned(), ..Default::default() }).await;
    let first = client.next().await;
    assert_eq!((first.version_info.as_str(), first.type_url.as_str()), ("7", Cluster.url()));
    assert_eq!((first.resources[0].type_url.as_str(), first.resources[0].value.as_ref()), (Cluster.url(), b"one".as_slice()));
}

#[tokio::test]
async fn large_responses_are_whole_however_they_are_cut() {
    // Below and above the size of a segment, alone and shared; the third stream of a view shares the buffer of the second.
    for (count, size) in [(40, 600), (3_000, 600), (12, 100_000), (1, 3_000_000)] {
        let view = large(1, count, size);
        let server = TestServer::new(view.clone());
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = server.delta(LOOPBACK).await;
            let response = client.ask(Cluster, &[]).await;
            assert_eq!(response.resources.len(), count);
            for (got, sent) in response.resources.iter().zip(view.of(Cluster).iter()) {
                assert_eq!((got.name.as_str(), got.version.as_str()), (&*sent.name, sent.version.to_string().as_str()));
                assert!(got.resource.as_ref().unwrap().value == sent.body());
            }
            let mut sotw = server.sotw(LOOPBACK).await;
            sotw.send(DiscoveryRequest { node: node("x"), type_url: Cluster.url().to_owned(), ..Default::default() }).await;
            let response = sotw.next().await;
            assert!(response.resources.iter().zip(view.of(Cluster).iter()).all(|(got, sent)| got.value == sent.body()));
            assert_eq!(response.resources.len(), count);
            clients.push((client, sotw));
        }
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_served_says_why() {
    let server = TestServer::with(view(1, &[]), |options| options.limits.names_per_stream = 1);
    let request = |id: Option<&str>, names: &[&str]| DeltaDiscoveryRequest {
        node: id.and_then(node),
        type_url: Endpoint.url().to_owned(),
        resource_names_subscribe: names.iter().map(|name| name.to_string()).collect(),
        ..Default::default()
    };
    for (request, code) in [
        (request(None, &[]), Code::InvalidArgument),
        (request(Some(""), &[]), Code::InvalidArgument),
        (request(Some("early"), &[]), Code::Unavailable),
        (request(Some("x"), &["a", "b"]), Code::ResourceExhausted),
    ] {
        let mut client = server.delta(LOOPBACK).await;
        client.send(request).await;
        assert_eq!(client.end().await.code(), code);
    }
    assert_eq!(server.counted("pilot_xds_refused_streams"), 4.0);
}

#[tokio::test]
async fn one_address_may_not_open_everything() {
    let server = TestServer::with(view(1, &[]), |options| options.limits.streams_per_address = 1);
    let mut first = server.delta(REMOTE).await;
    first.ask(Cluster, &[]).await;
    let mut second = server.delta(LOOPBACK).await;
    second.ask(Cluster, &[]).await;
    let mut third = server.channel(REMOTE).await;
    third.ready().await.unwrap();
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryRequest>::default();
    let refused = third.streaming(tonic::Request::new(tokio_stream::empty()), path, codec).await;
    assert_eq!(refused.err().unwrap().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn secrets_do_not_leave_the_machine_without_identity() {
    let server = TestServer::new(view(1, &[(Secret, "kubernetes://gateway", "key")]));
    let mut near = server.delta(LOOPBACK).await;
    assert_eq!(delta_names(&near.ask(Secret, &["kubernetes://gateway"]).await), ["kubernetes://gateway"]);
    let mut far = server.delta(REMOTE).await;
    let refused = far.ask(Secret, &["kubernetes://gateway"]).await;
    assert_eq!((refused.resources.len(), refused.removed_resources.as_slice()), (0, ["kubernetes://gateway".to_owned()].as_slice()));
    assert_eq!(server.counted("pilot_xds_secret_refusals"), 1.0);
}

/// The clock stands still and jumps when nothing else is left to do.
#[tokio::test(start_paused = true)]
async fn clients_that_never_acknowledge_do_not_stop_the_others() {
    let server = Arc::new(TestServer::with(large(1, 60, 1_000), |options| options.push_permits = 10));
    let mut clients = tokio::task::JoinSet::new();
    for i in 0..300 {
        let server = server.clone();
        clients.spawn(async move {
            let mut client = server.delta(LOOPBACK).await;
            let clusters = client.ask(Cluster, &[]).await;
            let names: Vec<_> = delta_names(&clusters).into_iter().map(str::to_owned).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            // Envoy acknowledges its clusters only after their endpoints.
            let endpoints = client.ask(Endpoint, &names).await;
            assert_eq!((clusters.resources.len(), endpoints.resources.len()), (60, 60));
            if i % 3 > 0 {
                client.accept(&endpoints).await;
                client.accept(&clusters).await;
            }
            client
        });
    }
    let clients = clients.join_all().await;
    assert_eq!(clients.len(), 300);
    let in_time = tokio::time::timeout(Duration::from_secs(3), async {
        while server.counted("pilot_xds_permit_timeouts") < 100.0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    in_time.await.unwrap();
    assert_eq!(server.counted("pilot_xds_permit_timeouts"), 100.0);
}

#[tokio::test]
async fn at_shutdown_streams_are_told_to_come_back() {
    let server = TestServer::new(view(1, &[]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (down, receiver) = oneshot::channel::<()>();
    let serving = server.server.clone();
    let task = tokio::spawn(async move {
        serving
            .serve(listener, async {
                receiver.await.unwrap();
            })
            .await;
    });
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = connect(channel).await;
    client.ask(Cluster, &[]).await;
    down.send(()).unwrap();
    assert_eq!(client.end().await.code(), Code::Unavailable);
    drop(client);
    task.await.unwrap();
}

#[tokio::test]
async fn a_client_that_says_no_more_is_let_go() {
    let server = TestServer::new(view(1, &[]));
    let mut client = server.delta(LOOPBACK).await;
    client.ask(Cluster, &[]).await;
    drop(client.requests);
    assert!(client.responses.message().await.unwrap().is_none());
}
