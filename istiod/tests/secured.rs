//! The secured port of a real process: who gets certificates and configuration, and who does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod client;
mod istiod;

use ca::api::{CREATE_CERTIFICATE, CertificateRequest, CertificateResponse};
use client::{Client, node, router};
use istiod::Istiod;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use tonic::{Code, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;

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

/// A Secret of the namespace `shop`, and a Gateway there that names it.
fn gateways() -> String {
    let made = rcgen::generate_simple_self_signed(["shop.example.com".to_owned()]).unwrap();
    let lines = |pem: String| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let (certificate, key) = (lines(made.cert.pem()), lines(made.signing_key.serialize_pem()));
    format!(
        "
apiVersion: v1
kind: Secret
metadata: {{name: shop-tls, namespace: shop}}
stringData:
  tls.crt: |
{certificate}  tls.key: |
{key}---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: entrance, namespace: shop}}
spec:
  selector: {{app: entrance}}
  servers:
  - {{port: {{number: 8443, name: https, protocol: HTTPS}}, hosts: ['*'], tls: {{mode: SIMPLE, credentialName: shop-tls}}}}
  - port: {{number: 9443, name: https-shop, protocol: HTTPS}}
    hosts: ['*']
    tls: {{mode: SIMPLE, credentialName: 'kubernetes-gateway://shop/shop-tls'}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_for_the_gateways_of_their_namespace() {
    const SECRETS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    let istiod = Istiod::start(&gateways());
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None);
    for (namespace, allowed) in [("shop", true), ("bank", false)] {
        let token = istiod.token(&["--serviceAccount=entrance", &format!("--namespace={namespace}")]);
        let gateway = router("entrance-0", namespace, "entrance");
        let names = ["kubernetes://shop-tls", "kubernetes-gateway://shop/shop-tls"].map(str::to_owned).to_vec();
        let mut stream = client.stream_of(gateway, Some(&token), SECRETS, names).await.unwrap();
        let mut told = vec![stream.first.clone()];
        // Each secret comes by itself, so that a proxy that refuses one takes the other.
        while told.iter().map(|response| response.resources.len() + response.removed_resources.len()).sum::<usize>() < 2 {
            told.push(stream.next().await.unwrap());
        }
        let given = told.iter().map(|response| response.resources.len()).sum::<usize>();
        assert_eq!(given, if allowed { 2 } else { 0 }, "to a gateway of {namespace}");
    }
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
    for address in [&istiod.secured, &istiod.grpc, istiod.address(), &istiod.monitoring, &istiod.webhook] {
        for length in [1, 5, 100, 10_000] {
            for head in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n"] {
                let mut stream = TcpStream::connect(address).unwrap();
                // The process may have hung up already.
                let _ = stream.write_all(head).and_then(|()| stream.write_all(&garbage(length)));
            }
        }
    }
    // A handshake that never comes is given up within its time of five seconds, half a request within ten.
    let greetings = [(istiod.secured.as_str(), ""), (&istiod.webhook, ""), (istiod.address(), "GET / HT"), (&istiod.monitoring, "")];
    let silent = greetings.map(|(address, greeting)| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(greeting.as_bytes()).unwrap();
        stream
    });
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut rest = Vec::new();
        // An answer may say why, but the connection ends.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "a silent connection stays open");
        }
    }
    assert_eq!(istiod.get("/ready").0, 200);
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None);
    client.certificate(Some(&istiod.token(&["--namespace=shop"]))).await.unwrap();
    istiod.wait_for("/metrics", |_, page| page.contains(r#"istiod_secured_refusals{reason="handshake_timeout"}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_its_time_its_audience_and_its_cluster_only() {
    let istiod = Istiod::start(OBJECTS);
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None);
    let short = istiod.token(&["--namespace=shop", "--ttl=3s"]);
    let good = istiod.token(&["--namespace=shop"]);
    client.certificate(Some(&short)).await.unwrap();
    // A token is no secret of one request: it proves the same again, and to xDS; but never anything else.
    client.certificate(Some(&short)).await.unwrap();
    client.stream(node("cart-0", "shop", ""), Some(&good), CLUSTERS).await.unwrap();
    let refused = async |token: &str, cluster: &str| {
        let asked = ask(&client, CSR, &[("authorization", &format!("Bearer {token}")), ("clusterid", cluster)]).await;
        asked.map(drop).unwrap_err().code()
    };
    assert_eq!(refused(&good, "elsewhere").await, Code::Unauthenticated, "a token of another cluster");
    let parts: Vec<&str> = good.split('.').collect();
    let (other, payload) = (istiod.token(&["--namespace=bank"]), parts[1]);
    let spliced = format!("{}.{payload}.{}", parts[0], other.rsplit('.').next().unwrap());
    for token in [spliced.as_str(), &format!("{}.{payload}.", parts[0]), "", "a.b.c"] {
        assert_eq!(refused(token, "").await, Code::Unauthenticated);
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while refused_or_not(&client, &short).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "an expired token is still good");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It was remembered while it was good, and is not any more.
    assert_eq!(refused(&short, "").await, Code::Unauthenticated);
    istiod.wait_for("/metrics", |_, page| page.contains(r#"istiod_secured_refusals{reason="token_expired"}"#));
    let told = istiod.log(&["no certificate was issued"]);
    assert!(!told.is_empty() && told.iter().all(|line| !line.contains(payload)), "a refusal is told, a token never");
}

/// Nobody has this key; it is not looked at before the caller is known.
const CSR: &str = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";

async fn ask(client: &Client, csr: &str, headers: &[(&'static str, &str)]) -> Result<CertificateResponse, tonic::Status> {
    let mut grpc = Grpc::new(client.channel().await.unwrap());
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(CertificateRequest { csr: csr.to_owned(), ..CertificateRequest::default() });
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let codec = ProstCodec::<CertificateRequest, CertificateResponse>::default();
    Ok(grpc.unary(request, CREATE_CERTIFICATE.parse().unwrap(), codec).await?.into_inner())
}

async fn refused_or_not(client: &Client, token: &str) -> Result<(), tonic::Status> {
    client.certificate(Some(token)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_too_slow_is_given_up_and_others_are_served() {
    let istiod = Istiod::start(OBJECTS);
    let client = Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None);
    let token = istiod.token(&["--namespace=shop"]);
    let bearer = format!("Bearer {token}");
    let large = format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n", "A".repeat(1 << 20));
    let refused = ask(&client, &large, &[("authorization", &bearer)]).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let crowded = "x".repeat(1 << 20);
    // So many headers are not even read.
    ask(&client, CSR, &[("authorization", &bearer), ("x-much", &crowded)]).await.map(drop).unwrap_err();
    // A thousand requests that never come in full, over connections of one peer.
    let mut slow = Vec::new();
    for _ in 0..20 {
        let channel = client.channel().await.unwrap();
        for _ in 0..50 {
            let (mut grpc, bearer) = (Grpc::new(channel.clone()), bearer.clone());
            slow.push(tokio::spawn(async move {
                grpc.ready().await.unwrap();
                let never = tokio_stream::StreamExt::chain(tokio_stream::empty::<CertificateRequest>(), tokio_stream::pending());
                let mut request = tonic::Request::new(never);
                request.metadata_mut().insert("authorization", bearer.parse().unwrap());
                let codec = ProstCodec::<CertificateRequest, CertificateResponse>::default();
                grpc.client_streaming(request, CREATE_CERTIFICATE.parse().unwrap(), codec).await.map(drop).unwrap_err().code()
            }));
        }
    }
    let start = std::time::Instant::now();
    client.certificate(Some(&token)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "others wait for the slow ones");
    for request in slow {
        let code = tokio::time::timeout(Duration::from_secs(30), request).await.expect("a slow request is never given up").unwrap();
        assert_eq!(code, Code::DeadlineExceeded);
    }
    istiod.wait_for("/metrics", |_, page| page.contains(r#"istiod_secured_refusals{reason="slow_request"} 1000"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_not_given_away_in_plain_text_beside_the_secured_port() {
    let istiod = Istiod::start(OBJECTS);
    let token = istiod.token(&["--namespace=shop"]);
    let channel = Endpoint::from_shared(format!("http://{}", istiod.grpc)).unwrap().connect().await.unwrap();
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(CertificateRequest { csr: CSR.to_owned(), ..CertificateRequest::default() });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let codec = ProstCodec::<CertificateRequest, CertificateResponse>::default();
    let refused = grpc.unary(request, CREATE_CERTIFICATE.parse().unwrap(), codec).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

/// A CA of somebody else, and a certificate of it for a workload of ours.
fn elsewhere() -> (ca::KeyMaterial, client::Held) {
    let day = Duration::from_secs(86_400);
    let material = ca::generate("elsewhere", ca::KeyAlgorithm::EcdsaP256, day, std::time::SystemTime::now()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&material.certificate, rcgen::KeyPair::from_pem(&material.key).unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI("spiffe://cluster.local/ns/shop/sa/cart".try_into().unwrap())];
    let leaf = params.signed_by(&key, &issuer).unwrap().pem();
    let held = client::Held { chain: vec![leaf, material.roots.clone()], key: key.serialize_pem() };
    (material, held)
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_of_others_are_trusted_where_they_are_named_and_nowhere_else() {
    const ROOTS: &str = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";
    let (material, held) = elsewhere();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients.pem");
    std::fs::write(&file, &material.roots).unwrap();
    let pem: String = material.roots.lines().map(|line| format!("    {line}\n")).collect();
    let mesh = format!("caCertificates:\n- pem: |\n{pem}");
    // The mesh configuration says whom workloads trust; the file, who may call us.
    for (flags, may_call) in [(vec![], false), (vec![format!("--caCertFile={}", file.display())], true)] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let istiod = Istiod::start_prepared(OBJECTS, &flags, |folder| std::fs::write(folder.join("mesh"), &mesh).unwrap());
        let roots = istiod.path("ca/root-cert.pem");
        let asked = Client::new(&istiod.secured, &roots, Some(&held)).certificate(None).await;
        assert_eq!(asked.is_ok(), may_call, "{:?}", asked.map(drop));
        let client = Client::new(&istiod.secured, &roots, None);
        let token = istiod.token(&["--namespace=shop"]);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let told = client.stream(node("cart-0", "shop", ""), Some(&token), ROOTS).await.unwrap().first;
            let body = told.resources[0].resource.as_ref().unwrap().value.clone();
            let given = <ca::api::ProxyConfig as prost::Message>::decode(&body[..]).unwrap().ca_certificates_pem;
            if given.contains(&material.roots) && given.len() == 2 {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "the roots of the mesh configuration do not come: {given:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
