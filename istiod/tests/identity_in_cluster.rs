//! Identities over a real API server: credentials that namespaces grant, node proxies, keys of issuers that are kept, and a
//! signer of the cluster.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod client;
mod istiod;

use ca::api::{CREATE_CERTIFICATE, CertificateRequest, CertificateResponse};
use client::{Client, node, router};
use istiod::Istiod;
use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::Value as Json;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use testkit::kube::ApiServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, Status, client::Grpc};
use tonic_prost::ProstCodec;
use xds_api::google::protobuf::{Struct, Value, value::Kind};

const PATIENCE: Duration = Duration::from_secs(30);
const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const SECRETS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

const REFERENCE_GRANTS: &str = include_str!("../../tests/kube/definitions/referencegrants.yaml");

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: entrance, namespace: edge}
spec:
  selector: {app: entrance}
  servers:
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: SIMPLE, credentialName: 'kubernetes-gateway://certificates/shop-tls'}
";

const GRANT: &str = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: edge, namespace: certificates}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: edge}]
  to: [{group: '', kind: Secret, name: shop-tls}]
";

fn prepare() -> Option<ApiServer> {
    let server = ApiServer::start().unwrap()?;
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    server.kubectl(&["apply", "--server-side", "-f", &crds.display().to_string()]).unwrap();
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).unwrap();
    for namespace in ["istio-system", "edge", "certificates", "shop"] {
        server.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    Some(server)
}

fn apply(server: &ApiServer, objects: &str) {
    server.kubectl_with(objects, &["apply", "-f", "-"]).unwrap();
}

/// Asks until the answer is as wanted.
fn wait_for(what: &str, mut found: impl FnMut() -> String, wanted: impl Fn(&str) -> bool) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = found();
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < end, "{what} stays {found:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A file with the roots that workloads of a namespace trust.
fn roots(istiod: &Istiod, server: &ApiServer) -> PathBuf {
    let map = ["get", "configmap", "istio-ca-root-cert", "-n", "shop", "-o", r"jsonpath={.data.root-cert\.pem}"];
    let text = wait_for("the ConfigMap of roots", || server.kubectl(&map).unwrap_or_default(), |text| !text.is_empty());
    let path = istiod.path("root-cert.pem");
    std::fs::write(&path, text).unwrap();
    path
}

fn secret(server: &ApiServer, namespace: &str) {
    let made = rcgen::generate_simple_self_signed(["shop.example.com".to_owned()]).unwrap();
    let mut text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: shop-tls, namespace: {namespace}}}\nstringData:\n");
    for (entry, pem) in [("tls.crt", made.cert.pem()), ("tls.key", made.signing_key.serialize_pem())] {
        writeln!(text, "  {entry}: |").unwrap();
        pem.lines().for_each(|line| writeln!(text, "    {line}").unwrap());
    }
    apply(server, &text);
}

fn resolved(server: &ApiServer) -> String {
    let path = "jsonpath={.status.conditions[?(@.type=='ResolvedRefs')].status} {.status.conditions[?(@.type=='ResolvedRefs')].reason}";
    server.kubectl(&["get", "gateways.networking.istio.io", "entrance", "-n", "edge", "-o", path]).unwrap()
}

fn wait_until_resolved(server: &ApiServer, wanted: &str) {
    wait_for(&format!("ResolvedRefs should become {wanted}, and"), || resolved(server), |found| found == wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_gets_what_another_namespace_grants_and_says_what_it_lacks() {
    let Some(server) = prepare() else { return };
    server.kubectl(&["create", "serviceaccount", "entrance", "-n", "edge"]).unwrap();
    // The kind does not exist yet: nothing is granted, and nothing waits for it.
    apply(&server, GATEWAY);
    let istiod = Istiod::start_in_cluster(&server.kubeconfig(), &[]);
    let client = Client::new(&istiod.secured, &roots(&istiod, &server), None);
    let token = server.kubectl(&["create", "token", "entrance", "-n", "edge", "--audience=istio-ca"]).unwrap().trim().to_owned();
    let name = "kubernetes-gateway://certificates/shop-tls";
    let names = vec![name.to_owned()];
    let mut stream = client.stream_of(router("entrance-0", "edge", "entrance"), Some(&token), SECRETS, names).await.unwrap();
    assert!(stream.first.resources.is_empty() && stream.first.removed_resources == [name], "told at once that there is none");
    stream.accept(&stream.first).await;
    wait_until_resolved(&server, "False RefNotPermitted");
    secret(&server, "certificates");
    apply(&server, REFERENCE_GRANTS);
    let crd = "crd/referencegrants.gateway.networking.k8s.io";
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", crd]).unwrap();
    apply(&server, GRANT);
    let given = stream.next().await.unwrap();
    assert_eq!(given.resources.iter().map(|resource| resource.name.as_str()).collect::<Vec<_>>(), [name]);
    stream.accept(&given).await;
    wait_until_resolved(&server, "True ResolvedRefs");
    // What is damaged is told, and taken back from who comes anew.
    apply(&server, "{apiVersion: v1, kind: Secret, metadata: {name: shop-tls, namespace: certificates}, stringData: {tls.key: nothing}}");
    wait_until_resolved(&server, "False InvalidCertificateRef");
    server.kubectl(&["delete", "secret", "shop-tls", "-n", "certificates"]).unwrap();
    wait_until_resolved(&server, "False NotFound");
    server.kubectl(&["delete", "referencegrant", "edge", "-n", "certificates"]).unwrap();
    wait_until_resolved(&server, "False RefNotPermitted");
}

const OWN: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: entrance, namespace: edge}
spec:
  selector: {app: entrance}
  servers:
  - {port: {number: 8443, name: https, protocol: HTTPS}, hosts: [shop.example.com], tls: {mode: SIMPLE, credentialName: shop-tls}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_gets_no_secret_that_its_service_account_may_not_read() {
    let Some(server) = prepare() else { return };
    for account in ["entrance", "thief"] {
        server.kubectl(&["create", "serviceaccount", account, "-n", "edge"]).unwrap();
    }
    server.kubectl(&["create", "role", "secrets", "-n", "edge", "--verb=get,list,watch", "--resource=secrets"]).unwrap();
    let binding = ["create", "rolebinding", "secrets", "-n", "edge", "--role=secrets", "--serviceaccount=edge:entrance"];
    server.kubectl(&binding).unwrap();
    secret(&server, "edge");
    apply(&server, OWN);
    let istiod = Istiod::start_in_cluster(&server.kubeconfig(), &[]);
    let client = Client::new(&istiod.secured, &roots(&istiod, &server), None);
    let name = "kubernetes://shop-tls";
    for (account, allowed) in [("entrance", true), ("thief", false)] {
        // The thief says of itself what the gateway says.
        let token = server.kubectl(&["create", "token", account, "-n", "edge", "--audience=istio-ca"]).unwrap().trim().to_owned();
        let stream = client.stream_of(router("entrance-0", "edge", account), Some(&token), SECRETS, vec![name.to_owned()]).await.unwrap();
        assert_eq!(stream.first.resources.len(), usize::from(allowed), "{account}");
        assert_eq!(stream.first.removed_resources.len(), usize::from(!allowed), "{account}");
    }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

/// Asks for a certificate with metadata, with the identity in the CSR as Istio's agents write it.
async fn ask(client: &Client, token: &str, identity: &str, metadata: &[(&str, &str)]) -> Result<Vec<String>, Status> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(identity.try_into().unwrap())];
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    let fields = metadata.iter().map(|(name, value)| ((*name).to_owned(), text(value)));
    let message = CertificateRequest { csr, validity_duration: 3600, metadata: Some(Struct { fields: fields.collect() }) };
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let mut grpc = Grpc::new(client.channel().await.unwrap());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<CertificateRequest, CertificateResponse>::default();
    Ok(grpc.unary(request, CREATE_CERTIFICATE.parse().unwrap(), codec).await?.into_inner().cert_chain)
}

fn identity_of(chain: &[String]) -> String {
    let leaf = ca::pem::certificates(&chain[0]).unwrap().remove(0);
    ca::authenticate::ClientCertificate::read(&leaf).unwrap().identity.to_string()
}

fn pod(name: &str, namespace: &str, account: &str, node: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{serviceAccountName: {account}, nodeName: \
         {node}, containers: [{{name: app, image: none}}]}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_proxy_gets_certificates_of_the_pods_of_its_node_only() {
    let Some(server) = prepare() else { return };
    for (namespace, account) in [("istio-system", "ztunnel"), ("shop", "cart"), ("shop", "admin")] {
        server.kubectl(&["create", "serviceaccount", account, "-n", namespace]).unwrap();
    }
    let pods =
        [pod("ztunnel-a", "istio-system", "ztunnel", "one"), pod("cart-0", "shop", "cart", "one"), pod("admin-0", "shop", "admin", "two")];
    apply(&server, &pods.concat());
    let istiod = Istiod::start_in_cluster(&server.kubeconfig(), &["--trustedNodeAccounts=istio-system/ztunnel"]);
    let client = Client::new(&istiod.secured, &roots(&istiod, &server), None);
    let bound = |pod: &str, account: &str, namespace: &str| {
        let flags = ["create", "token", account, "-n", namespace, "--audience=istio-ca", "--bound-object-kind=Pod", "--bound-object-name"];
        server.kubectl(&[&flags[..], &[pod]].concat()).unwrap().trim().to_owned()
    };
    let (proxy, workload) = (bound("ztunnel-a", "ztunnel", "istio-system"), bound("cart-0", "cart", "shop"));
    let (cart, admin) = ("spiffe://cluster.local/ns/shop/sa/cart", "spiffe://cluster.local/ns/shop/sa/admin");
    let wish = async |token: &str, identity: &str| ask(&client, token, identity, &[("ImpersonatedIdentity", identity)]).await;
    assert_eq!(identity_of(&wish(&proxy, cart).await.unwrap()), cart);
    assert_eq!(wish(&proxy, admin).await.unwrap_err().code(), Code::Unauthenticated, "on another node");
    assert_eq!(wish(&workload, admin).await.unwrap_err().code(), Code::Unauthenticated, "no node proxy");
    // For itself it asks as everybody does.
    let own = "spiffe://cluster.local/ns/istio-system/sa/ztunnel";
    assert_eq!(identity_of(&ask(&client, &proxy, own, &[]).await.unwrap()), own);
    // A pod that is gone takes its right with it, also if another one has its name now.
    let without_wait = ["delete", "pod", "ztunnel-a", "-n", "istio-system", "--force", "--grace-period=0"];
    server.kubectl(&without_wait).unwrap();
    apply(&server, &pods[0]);
    let end = Instant::now() + PATIENCE;
    while wish(&proxy, cart).await.is_ok() {
        assert!(Instant::now() < end, "the token of a pod that is gone still proves its node");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(identity_of(&wish(&bound("ztunnel-a", "ztunnel", "istio-system"), cart).await.unwrap()), cart);
}

/// A CA as somebody else runs it: signs approved requests for one signer, until it is aborted.
async fn sign(server: &ApiServer, signer: &str, material: &ca::KeyMaterial) {
    let list = || -> Json { serde_json::from_str(&server.kubectl(&["get", "csr", "-o", "json"]).unwrap()).unwrap() };
    loop {
        for request in list()["items"].as_array().unwrap() {
            let conditions = request["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let approved = conditions.iter().any(|condition| condition["type"] == "Approved");
            if request["spec"]["signerName"] != signer || !approved || request["status"]["certificate"].is_string() {
                continue;
            }
            assert_eq!(request["spec"]["expirationSeconds"], 3600);
            let csr = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, request["spec"]["request"].as_str().unwrap());
            let csr = rcgen::CertificateSigningRequestParams::from_pem(&String::from_utf8(csr.unwrap()).unwrap()).unwrap();
            let key = KeyPair::from_pem(&material.key).unwrap();
            let signed = csr.signed_by(&rcgen::Issuer::from_ca_cert_pem(&material.certificate, key).unwrap()).unwrap().pem();
            let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, signed);
            let name = request["metadata"]["name"].as_str().unwrap();
            let patch = format!(r#"{{"status": {{"certificate": "{encoded}"}}}}"#);
            // It may have been given up.
            drop(server.kubectl(&["patch", "csr", name, "--subresource=status", "--type=merge", "-p", &patch]));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_of_the_cluster_signs_for_workloads() {
    let Some(server) = prepare() else { return };
    server.kubectl(&["create", "serviceaccount", "cart", "-n", "shop"]).unwrap();
    let signer = "mesh.example.com/workloads";
    let material =
        ca::generate("elsewhere", ca::KeyAlgorithm::EcdsaP256, Duration::from_secs(86_400), std::time::SystemTime::now()).unwrap();
    let pem: String = material.roots.lines().map(|line| format!("        {line}\n")).collect();
    apply(
        &server,
        &format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    caCertificates:\n    - \
             certSigners: [{signer}]\n      pem: |\n{pem}"
        ),
    );
    let flags = ["--externalCa=ISTIOD_RA_KUBERNETES_API", "--k8sSigner=mesh.example.com/workloads", "--certSignerDomain=mesh.example.com"];
    let istiod = Istiod::start_in_cluster(&server.kubeconfig(), &flags);
    let roots = roots(&istiod, &server);
    let client = Client::new(&istiod.secured, &roots, None);
    let token = server.kubectl(&["create", "token", "cart", "-n", "shop", "--audience=istio-ca"]).unwrap().trim().to_owned();
    let cart = "spiffe://cluster.local/ns/shop/sa/cart";
    let asked = async {
        let by_default = ask(&client, &token, cart, &[]).await.unwrap();
        let by_name = ask(&client, &token, cart, &[("CertSigner", "workloads")]).await.unwrap();
        for chain in [by_default, by_name] {
            assert_eq!(identity_of(&chain), cart);
            let signed = ca::pem::certificates(&material.roots).unwrap();
            let trusted = ca::pem::certificates(chain.last().unwrap()).unwrap();
            assert!(trusted.contains(&signed[0]) && trusted.len() == 2, "the roots of the signer, and our own");
        }
        // What the signer would sign as it is must be the caller.
        let other = ask(&client, &token, "spiffe://cluster.local/ns/shop/sa/admin", &[]).await;
        assert_eq!(other.unwrap_err().code(), Code::InvalidArgument);
        // Nobody signs for this one, and its roots are not known.
        assert_eq!(ask(&client, &token, cart, &[("CertSigner", "others")]).await.unwrap_err().code(), Code::Unavailable);
    };
    tokio::select! {
        () = asked => {}
        () = sign(&server, signer, &material) => {}
    }
    let left = server.kubectl(&["get", "csr", "-o", "jsonpath={.items[?(@.spec.signerName=='mesh.example.com/workloads')].metadata.name}"]);
    assert_eq!(left.unwrap(), "", "a request is removed when it has served its purpose");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_issuers_outlive_istiod() {
    let Some(server) = prepare() else { return };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let key_set = ca::authenticate::TokenIssuer::generate().unwrap().key_set();
    let (known, text) = (serde_json::from_str::<Json>(&key_set).unwrap()["keys"][0].clone(), answer(&key_set));
    let issuer = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The request does not matter.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    apply(
        &server,
        &format!(
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: tokens, namespace: shop}}\nspec:\n  jwtRules:\n  \
             - {{issuer: 'https://issuer.example', jwksUri: 'http://{address}/keys'}}\n"
        ),
    );
    let istiod = Istiod::start_in_cluster(&server.kubeconfig(), &[]);
    let kept = || server.kubectl(&["get", "configmap", "istio-issuer-keys", "-n", "istio-system", "-o", "jsonpath={.data}"]);
    let text = wait_for("the ConfigMap of keys", || kept().unwrap_or_default(), |text| text.contains("keySet"));
    assert!(text.contains(&address.to_string()), "{text}");
    drop(istiod);
    issuer.abort();
    let _ = issuer.await;
    let next = Istiod::start_in_cluster(&server.kubeconfig(), &[]);
    wait_for("the fetches", || next.get("/metrics").1, |page| page.contains("pilot_jwks_resolver_network_fetch_fail_total"));
    // A sidecar gets the keys of before, though nobody answers.
    let client = Client::new(&next.secured, &roots(&next, &server), None);
    server.kubectl(&["create", "serviceaccount", "cart", "-n", "shop"]).unwrap();
    let token = server.kubectl(&["create", "token", "cart", "-n", "shop", "--audience=istio-ca"]).unwrap().trim().to_owned();
    let listeners = client.stream(node("cart-0", "shop", "cart"), Some(&token), LISTENERS).await.unwrap().first;
    let bytes: Vec<u8> = listeners.resources.iter().flat_map(|resource| resource.resource.as_ref().unwrap().value.clone()).collect();
    let key = known["x"].as_str().unwrap().as_bytes();
    assert!(bytes.windows(key.len()).any(|part| part == key), "the keys of before are gone");
}

/// An HTTP answer with this body.
fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
