//! The secured port of a real process: who gets certificates and configuration, and who does not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod client;
mod istiod;

use client::{Client, node, router};
use istiod::Istiod;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use tonic::Code;

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

const OBJECTS: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gets_a_certificate_and_that_gets_the_next_one() {
    let istiod = Istiod::start(OBJECTS);
    let roots = istiod.path("ca/root-cert.pem");
    let newcomer = Client::new(&istiod.secured, &roots, None);
    let token = istiod.token(&["--namespace=shop", "--serviceAccount=cart"]);
    let held = newcomer.certificate(Some(&token)).await.unwrap();
    assert_eq!(held.chain.last().unwrap(), &std::fs::read_to_string(&roots).unwrap());

    let known = Client::new(&istiod.secured, &roots, Some(&held));
    let renewed = known.certificate(None).await.unwrap();
    let own = |proof: &client::Held| {
        let der = ca::pem::certificates(proof.chain.first().unwrap()).unwrap().remove(0);
        ca::authenticate::ClientCertificate::read(&der).unwrap().identity.to_string()
    };
    assert_eq!(own(&held), "spiffe://cluster.local/ns/shop/sa/cart");
    assert_eq!(own(&renewed), own(&held));

    assert_eq!(newcomer.certificate(None).await.map(drop).unwrap_err().code(), Code::Unauthenticated);
    let wrong = istiod.token(&["--namespace=shop", "--audience=other"]);
    assert_eq!(newcomer.certificate(Some(&wrong)).await.map(drop).unwrap_err().code(), Code::Unauthenticated);
    let (_, metrics) = istiod.get("/metrics");
    assert!(metrics.contains("citadel_server_success_cert_issuance_count 2"), "{metrics}");
    assert!(metrics.contains(r#"istiod_secured_refusals{reason="token_audience"} 1"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_what_it_has_proved_and_nothing_else() {
    let istiod = Istiod::start(OBJECTS);
    let roots = istiod.path("ca/root-cert.pem");
    let newcomer = Client::new(&istiod.secured, &roots, None);
    let token = istiod.token(&["--namespace=shop", "--serviceAccount=cart"]);
    let held = newcomer.certificate(Some(&token)).await.unwrap();
    let known = Client::new(&istiod.secured, &roots, Some(&held));
    for (client, token) in [(&newcomer, Some(token.as_str())), (&known, None)] {
        client.stream(node("cart-0", "shop", "cart"), token, CLUSTERS).await.unwrap();
        // A node that does not say its service account.
        client.stream(node("cart-0", "shop", ""), token, CLUSTERS).await.unwrap();
        for (namespace, service_account) in [("bank", "cart"), ("shop", "admin"), ("istio-system", "")] {
            let refused = client.stream(node("cart-0", namespace, service_account), token, CLUSTERS).await.map(drop);
            assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied, "as {namespace}/{service_account}");
        }
    }
    let refused = newcomer.stream(node("cart-0", "shop", "cart"), None, CLUSTERS).await.map(drop);
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
}

const GATEWAYS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: shop-tls, namespace: shop}
data:
  tls.key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCllRPT0KLS0tLS1FTkQgUFJJVkFURSBLRVktLS0tLQo=
  tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCllRPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: entrance, namespace: shop}
spec:
  selector: {app: entrance}
  servers: [{port: {number: 8443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: shop-tls}}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_for_the_gateways_of_their_namespace() {
    const SECRETS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    let istiod = Istiod::start(GATEWAYS);
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None);
    let mut answers = Vec::new();
    for namespace in ["shop", "bank"] {
        let token = istiod.token(&["--serviceAccount=entrance", &format!("--namespace={namespace}")]);
        let gateway = router("entrance-0", namespace, "entrance");
        let name = "kubernetes://shop/shop-tls";
        let names = ["kubernetes://shop-tls", name].map(str::to_owned).to_vec();
        let stream = client.stream_of(gateway, Some(&token), SECRETS, names).await.unwrap();
        answers.push(stream.first.resources.len());
    }
    assert!(answers[0] > 0 && answers[1] == 0, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_serving_certificate_has_istiods_names() {
    let istiod = Istiod::start_with(OBJECTS, &["--istiodCustomHost=mesh.example.com", "--revision=next"]);
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None);
    for name in [
        "istiod.istio-system.svc",
        "istiod-remote.istio-system.svc",
        "istio-pilot.istio-system.svc",
        "istiod-next.istio-system.svc",
        "mesh.example.com",
        "localhost",
        "127.0.0.1",
    ] {
        client.connect(name).await.unwrap();
    }
    client.connect("other.istio-system.svc").await.map(drop).unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ca_proves_nothing() {
    let (istiod, other) = (Istiod::start(OBJECTS), Istiod::start(OBJECTS));
    let token = other.token(&["--namespace=shop"]);
    let foreign = Client::new(&other.secured, &other.path("ca/root-cert.pem"), None).certificate(Some(&token)).await.unwrap();
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), Some(&foreign));
    assert!(client.certificate(None).await.is_err(), "a certificate of another root");
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None);
    assert_eq!(client.certificate(Some(&token)).await.map(drop).unwrap_err().code(), Code::Unauthenticated, "a token of another issuer");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_holds_so_many_connections_and_no_more() {
    let istiod = Istiod::start_with(OBJECTS, &["--maxConnectionsPerPeer=50"]);
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None);
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..1_000 {
        match client.connect("localhost").await {
            Ok(stream) => open.push(stream),
            Err(_) => refused += 1,
        }
    }
    assert_eq!((open.len(), refused), (50, 950));
    drop(open);
    // Those that are gone make room.
    let token = istiod.token(&["--namespace=shop"]);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while client.certificate(Some(&token)).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "connections that are closed still count");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_silence_end_connections_and_nothing_else() {
    let istiod = Istiod::start(OBJECTS);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut garbage = |length: usize| {
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        (0..length).map(next).collect::<Vec<u8>>()
    };
    for address in [istiod.secured.as_str(), istiod.grpc.as_str(), istiod.address()] {
        for length in [1, 5, 100, 10_000] {
            for head in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n"] {
                let mut stream = TcpStream::connect(address).unwrap();
                // The process may have hung up already.
                let _ = stream.write_all(head).and_then(|()| stream.write_all(&garbage(length)));
            }
        }
    }
    // A handshake that never comes is given up within its time of five seconds.
    let mut silent = TcpStream::connect(&istiod.secured).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None);
    client.certificate(Some(&istiod.token(&["--namespace=shop"]))).await.unwrap();
    istiod.wait_for("/metrics", |_, page| page.contains(r#"istiod_secured_refusals{reason="handshake_timeout"}"#));
}
