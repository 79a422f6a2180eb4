//! What is answered, to the API server and to anybody else who finds the port.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer},
};

fn asked(operation: &str, kind: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1-2", "operation": operation, "namespace": "shop", "dryRun": true,
            "kind": { "group": "networking.istio.io", "version": "v1", "kind": kind },
            "object": {
                "apiVersion": "networking.istio.io/v1", "kind": kind,
                "metadata": { "name": "a", "namespace": "shop", "managedFields": [{ "fieldsV1": { "f:spec": {} } }] },
                "spec": spec, "status": { "conditions": 5 },
            },
        },
    })
}

fn answer(question: &Value) -> Value {
    let (answer, _) = webhook::review(question.to_string().as_bytes()).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((&answer["apiVersion"], &answer["response"]["uid"]), (&json!("admission.k8s.io/v1"), &json!("1-2")));
    answer["response"].clone()
}

#[test]
fn refusals_say_what_the_command_line_says() {
    let good = json!({ "hosts": ["a.b"], "http": [{ "route": [{ "destination": { "host": "a.b" } }] }] });
    assert_eq!(answer(&asked("CREATE", "VirtualService", good))["allowed"], true);
    let one = answer(&asked("UPDATE", "VirtualService", json!({ "hosts": ["a.b"] })));
    assert_eq!(one["allowed"], false);
    assert_eq!(one["status"]["message"], "spec: http, tcp or tls must be provided in virtual service");
    let two = json!({ "host": "a.b", "subsets": [{ "name": "A b" }], "trafficPolicy": { "connectionPool": { "http": { "idleTimeout": "1us" } } } });
    let two = answer(&asked("CREATE", "DestinationRule", two));
    let message = two["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("2 errors:\n  * spec.trafficPolicy.connectionPool.http.idleTimeout: "), "{message}");
    assert!(message.contains("\n  * spec.subsets[0].name: "), "{message}");
}

#[test]
fn warnings_stand_beside_a_yes() {
    let spec = json!({ "servers": [{ "hosts": ["a.b"], "port": { "number": 80, "name": "http", "protocol": "HTTP" } }], "selector": {} });
    let plain = answer(&asked("CREATE", "Gateway", spec));
    assert_eq!(plain["allowed"], true);
    let empty = json!({ "address": "", "network": "far" });
    let empty = answer(&asked("CREATE", "WorkloadEntry", empty));
    assert_eq!(empty["allowed"], true);
    assert!(empty["warnings"][0].as_str().unwrap().starts_with("spec.address: "), "{empty}");
}

#[test]
fn what_is_none_of_our_business_passes() {
    assert_eq!(answer(&asked("DELETE", "VirtualService", Value::Null))["allowed"], true);
    assert_eq!(answer(&asked("CREATE", "Pod", json!({})))["allowed"], true);
    let mut status = asked("UPDATE", "VirtualService", json!({}));
    status["request"]["subResource"] = json!("status");
    assert_eq!(answer(&status)["allowed"], true);
}

#[test]
fn garbage_is_an_error_and_no_panic() {
    for garbage in ["", "{", "[]", "null", "{}", "{\"request\":null}", "{\"request\":{\"uid\":1}}", "\u{0}"] {
        assert!(webhook::review(garbage.as_bytes()).is_err(), "{garbage}");
    }
    assert!(webhook::review("[".repeat(100_000).as_bytes()).is_err());
    for spec in [json!(null), json!([]), json!("a"), json!({ "hosts": 5 }), json!({ "http": [null, [], {}] })] {
        for object in [json!({ "spec": spec }), json!(spec), json!({ "metadata": spec, "spec": {} })] {
            let mut question = asked("CREATE", "VirtualService", Value::Null);
            question["request"]["object"] = object;
            assert_eq!(answer(&question)["allowed"], false, "{question}");
        }
    }
}

struct Served {
    port: u16,
    client: TlsConnector,
    end: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

async fn serve() -> Served {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_, tls) = watch::channel(Arc::new(server));
    let router = webhook::router(webhook::Metrics::new(&prometheus::Registry::new()).unwrap());
    let (end, ending) = oneshot::channel();
    let ended = tokio::spawn(webhook::serve(listener, tls, router, async {
        drop(ending.await);
    }));
    Served { port, client, end, ended }
}

impl Served {
    async fn post(&self, path: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let stream = self.client.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::post(path).header("host", "localhost").header("content-type", "application/json");
        let response = send.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }
}

#[tokio::test]
async fn the_server_answers_over_tls_and_nothing_else() {
    let served = serve().await;
    let question = asked("CREATE", "VirtualService", json!({})).to_string().into_bytes();
    for path in ["/validate", "/validate/inject", "/validateistio", "/validate?timeout=10s"] {
        let (status, body) = served.post(path, question.clone()).await;
        assert_eq!(status, 200, "{path}");
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["response"]["allowed"], false);
    }
    assert_eq!(served.post("/", question.clone()).await.0, 404);
    assert_eq!(served.post("/validate", b"nonsense".to_vec()).await.0, 400);
    assert_eq!(served.post("/validate", vec![b' '; 9 * 1024 * 1024]).await.0, 413);
    // Somebody without TLS, and somebody who says nothing, do not keep others waiting.
    let mut plain = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _silent = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    assert_eq!(served.post("/validate", question).await.0, 200);
    // It ends although connections are open.
    served.end.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), served.ended).await.unwrap().unwrap();
}
