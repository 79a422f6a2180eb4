//! Callers that want more than is theirs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod mesh;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use ca::{
    PeerLimits,
    api::CertificateRequest,
    authenticate::{ClientCertificate, TokenIssuer},
};
use mesh::{HOUR, Mesh, csr, csr_of, now, root};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, RsaKeySize, SanType};
use serde_json::{Value, json};
use std::time::Duration;
use tonic::Code;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// Reads the leaf of an answer.
fn leaf<T>(chain: &[String], read: impl Fn(&X509Certificate<'_>) -> T) -> T {
    let der = ca::pem::certificates(&chain[0]).unwrap().remove(0);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    read(&certificate)
}

#[tokio::test]
async fn a_csr_gets_nothing_that_it_asks_for_but_its_key() {
    let mesh = Mesh::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["istiod.istio-system.svc".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    params.subject_alt_names.push(SanType::URI("spiffe://cluster.local/ns/istio-system/sa/istiod".try_into().unwrap()));
    let answer = mesh.ask(&csr_of(&key, params), &mesh.token("shop", "cart")).await.unwrap();
    assert_eq!(answer.cert_chain.len(), 2, "the leaf and the root");
    leaf(&answer.cert_chain, |certificate| {
        assert!(!certificate.is_ca());
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert!(names.critical, "as in Istio, for a subject that is empty");
        assert_eq!(names.value.general_names, vec![GeneralName::URI("spiffe://cluster.local/ns/shop/sa/cart")]);
        assert_eq!(certificate.subject().iter().count(), 0);
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && extended.server_auth && !extended.any);
    });
}

#[tokio::test]
async fn a_leaf_cannot_pass_for_a_ca() {
    // What a workload signs with its own key must not be taken by the port, whatever names it puts in.
    let mesh = Mesh::new();
    let mut material = root();
    let key = KeyPair::generate().unwrap();
    let answer = mesh.ask(&csr_of(&key, CertificateParams::default()), &mesh.token("shop", "cart")).await.unwrap();
    material.certificate = answer.cert_chain[0].clone();
    material.key = key.serialize_pem();
    material.roots = answer.cert_chain[1].clone();
    assert!(matches!(ca::Signer::new(&material, std::time::SystemTime::now()), Err(ca::AuthorityError::NotCa)));
}

#[tokio::test]
async fn keys_that_are_too_weak_or_not_held_are_not_signed() {
    let mesh = Mesh::new();
    let token = mesh.token("shop", "cart");
    let request = csr();
    let der = ca::pem::encode("CERTIFICATE REQUEST", &changed(&request, -3));
    for (csr, part) in [
        (der.as_str(), "signature"),
        ("", "PEM"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "PKCS#10"),
        ("-----BEGIN CERTIFICATE REQUEST-----\n????\n-----END CERTIFICATE REQUEST-----\n", "PEM"),
    ] {
        let (code, message) = mesh.ask(csr, &token).await.unwrap_err();
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.contains(part), "{message}");
    }
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    mesh.ask(&csr_of(&rsa, CertificateParams::default()), &token).await.unwrap();
    assert_eq!(mesh.counted("citadel_server_csr_parsing_err_count", ""), 4.0);
}

/// The DER of a CSR with one byte changed, counted from the end.
fn changed(csr: &str, at: isize) -> Vec<u8> {
    let body: String = csr.lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let at = der.len().checked_add_signed(at).unwrap();
    der[at] ^= 1;
    der
}

#[tokio::test]
async fn more_time_than_allowed_is_an_error() {
    let mesh = Mesh::new();
    let (token, csr) = (mesh.token("shop", "cart"), csr());
    let ask = async |seconds| {
        mesh.send(&CertificateRequest { csr: csr.clone(), validity_duration: seconds, metadata: None }, Some(&token), None).await
    };
    assert_eq!(ask(91 * 86_400).await.unwrap_err().0, Code::InvalidArgument);
    assert_eq!(ask(i64::MAX).await.unwrap_err().0, Code::InvalidArgument);
    for (asked, granted) in [(3_600, 3_600), (0, 86_400), (-5, 86_400)] {
        let answer = ask(asked).await.unwrap();
        let left = leaf(&answer.cert_chain, |certificate| certificate.validity().not_after.timestamp()) - now();
        // The test's root is valid for a day, and no certificate outlives it.
        assert!(left <= granted && left > granted - 60, "asked for {asked}, got {left}");
    }
}

#[tokio::test]
async fn wishes_for_another_identity_are_refused() {
    use xds_api::google::protobuf::{Struct, Value, value::Kind};
    let mesh = Mesh::new();
    let value = Value { kind: Some(Kind::StringValue("spiffe://cluster.local/ns/shop/sa/admin".into())) };
    let metadata = Struct { fields: [("ImpersonatedIdentity".to_owned(), value)].into() };
    let request = CertificateRequest { csr: csr(), validity_duration: 0, metadata: Some(metadata) };
    let (code, _) = mesh.send(&request, Some(&mesh.token("kube-system", "ztunnel")), None).await.unwrap_err();
    assert_eq!(code, Code::Unauthenticated);
}

/// A token's header and payload, to be changed.
fn parts() -> (Value, Value) {
    let payload = json!({
        "iss": "istiod", "sub": "system:serviceaccount:shop:cart", "aud": ["istio-ca"], "exp": now() + 600,
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "cart", "uid": "1"}, "pod": {"name": "cart-0", "uid": "2"}},
    });
    (json!({"alg": "ES256"}), payload)
}

#[tokio::test]
async fn tokens_that_are_not_good() {
    let mesh = Mesh::new();
    let csr = csr();
    let (header, payload) = parts();
    let with = |key: &str, value: Value| {
        let mut payload = payload.clone();
        payload[key] = value;
        mesh.issuer.sign(&header, &payload).unwrap()
    };
    let good = mesh.issuer.sign(&header, &payload).unwrap();
    mesh.ask(&csr, &good).await.unwrap();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    let mut admin = payload.clone();
    admin["sub"] = json!("system:serviceaccount:shop:admin");
    let stranger = TokenIssuer::generate().unwrap();
    let cases = [
        ("token_expired", with("exp", json!(now() - 1))),
        ("token_not_yet_valid", with("nbf", json!(now() + 3_600))),
        ("token_audience", with("aud", json!(["https://kubernetes.default.svc"]))),
        ("token_audience", with("aud", json!([]))),
        ("token_malformed", with("exp", json!("never"))),
        ("token_subject", with("sub", json!("system:node:one"))),
        ("token_subject", with("sub", json!("system:serviceaccount:shop:other"))),
        ("token_subject", with("sub", json!("system:serviceaccount:shop/sa/x:cart"))),
        ("token_algorithm", format!("{}.{body}.{signature}", encode(&json!({"alg": "none"})))),
        ("token_algorithm", format!("{}.{body}.", encode(&json!({"alg": "none"})))),
        ("token_algorithm", format!("{}.{body}.{signature}", encode(&json!({"alg": "HS256"})))),
        ("token_algorithm", format!("{}.{body}.{signature}", encode(&json!({"alg": "ES256", "crit": ["exp"]})))),
        ("token_signature", format!("{}.{body}.{signature}", encode(&json!({"alg": "RS256"})))),
        ("token_signature", format!("{head}.{}.{signature}", encode(&admin))),
        ("token_signature", stranger.sign(&header, &payload).unwrap()),
        ("token_unknown_key", stranger.issue("shop", "cart", "istio-ca", HOUR, now()).unwrap()),
        ("token_malformed", "a.b".to_owned()),
        ("token_malformed", format!("{good}.x")),
        ("token_malformed", "x".repeat(100_000)),
    ];
    for (reason, token) in cases {
        let before = mesh.counted("istiod_secured_refusals", reason);
        let (code, message) = mesh.ask(&csr, &token).await.unwrap_err();
        assert_eq!(code, Code::Unauthenticated, "{reason}");
        assert_eq!(mesh.counted("istiod_secured_refusals", reason), before + 1.0, "{reason}: {message}");
        assert!(!message.contains(signature), "the answer holds a part of the token");
    }
    let (code, _) = mesh.send(&CertificateRequest { csr, ..CertificateRequest::default() }, None, None).await.unwrap_err();
    assert_eq!(code, Code::Unauthenticated, "without any credential");
}

#[tokio::test]
async fn a_remembered_token_ends_with_its_time_and_with_its_key() {
    let mesh = Mesh::new();
    let csr = csr();
    let short = mesh.issuer.issue("shop", "cart", "istio-ca", Duration::from_secs(2), now()).unwrap();
    mesh.ask(&csr, &short).await.unwrap();
    mesh.ask(&csr, &short).await.unwrap();
    assert_eq!(mesh.counted("istiod_tokens_accepted", "memory"), 1.0);
    let long = mesh.token("shop", "cart");
    mesh.ask(&csr, &long).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let replayed = loop {
        match mesh.ask(&csr, &short).await {
            Err(refused) => break refused,
            Ok(_) => assert!(std::time::Instant::now() < deadline, "an expired token is still taken"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(replayed.0, Code::Unauthenticated);
    // The cluster does not sign with that key any more.
    mesh.keys.document.lock().unwrap().key_set = TokenIssuer::generate().unwrap().key_set();
    assert!(mesh.authenticator.tokens().refresh().await.is_empty());
    assert_eq!(mesh.ask(&csr, &long).await.unwrap_err().0, Code::Unauthenticated);
}

#[tokio::test]
async fn certificates_of_other_meshes_and_old_ones_are_not_taken() {
    let mesh = Mesh::new();
    let request = CertificateRequest { csr: csr(), ..CertificateRequest::default() };
    let certificate = |trust_domain: &str, expires| ClientCertificate {
        identity: base::SpiffeIdentity::parse(&format!("spiffe://{trust_domain}/ns/shop/sa/cart")).unwrap(),
        expires,
    };
    let own = mesh.send(&request, None, Some(&certificate("cluster.local", now() + 60))).await.unwrap();
    assert_eq!(own.cert_chain.len(), 2);
    // An alias is renewed in the trust domain that the mesh has now.
    let alias = mesh.send(&request, None, Some(&certificate("old.example", now() + 60))).await.unwrap();
    leaf(&alias.cert_chain, |certificate| {
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, vec![GeneralName::URI("spiffe://cluster.local/ns/shop/sa/cart")]);
    });
    for (trust_domain, expires) in [("other.example", now() + 60), ("cluster.local", now() - 1)] {
        let (code, _) = mesh.send(&request, None, Some(&certificate(trust_domain, expires))).await.unwrap_err();
        assert_eq!(code, Code::Unauthenticated, "{trust_domain}");
    }
}

#[tokio::test]
async fn oversized_and_malformed_messages() {
    let mesh = Mesh::new();
    let token = mesh.token("shop", "cart");
    let large = CertificateRequest { csr: "x".repeat(100_000), ..CertificateRequest::default() };
    assert_eq!(mesh.send(&large, Some(&token), None).await.unwrap_err().0, Code::ResourceExhausted);
    assert_eq!(mesh.counted("istiod_secured_refusals", "large_request"), 1.0);
    for (bytes, code) in [
        (&b""[..], Code::InvalidArgument),
        (b"\0\0\0", Code::InvalidArgument),
        (b"\0\0\0\0\x09ab", Code::InvalidArgument),
        (b"\0\0\0\0\x02\xff\xff", Code::InvalidArgument),
        (b"\x01\0\0\0\x02ab", Code::Unimplemented),
    ] {
        assert_eq!(mesh.send_bytes(Bytes::from_static(bytes), Some(&token), None).await.unwrap_err().0, code);
    }
}

/// A body that begins and never ends.
struct Slow;

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn slow_requests_are_given_up() {
    let mesh = Mesh::new();
    let request = http::Request::post("/").header("authorization", format!("Bearer {}", mesh.token("shop", "cart")));
    let response = mesh.service.handle(request.body(Slow).unwrap(), "10.0.0.1:4000".parse().unwrap(), None).await;
    assert_eq!(tonic::Status::from_header_map(response.headers()).unwrap().code(), Code::DeadlineExceeded);
    assert_eq!(mesh.counted("istiod_secured_refusals", "slow_request"), 1.0);
}

#[tokio::test]
async fn one_peer_cannot_ask_for_ever() {
    let mesh = Mesh::with(&root(), PeerLimits { requests_per_second: 0.001, burst: 3.0, ..PeerLimits::default() }, None);
    let (token, csr) = (mesh.token("shop", "cart"), csr());
    for _ in 0..3 {
        mesh.ask(&csr, &token).await.unwrap();
    }
    assert_eq!(mesh.ask(&csr, &token).await.unwrap_err().0, Code::ResourceExhausted);
    assert_eq!(mesh.counted("istiod_secured_refusals", "request_rate"), 1.0);
}
