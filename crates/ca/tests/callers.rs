//! Who calls, when there are several ways to say it; node proxies; signers that are not ours.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod mesh;

use base::{ClusterId, SpiffeIdentity};
use ca::{
    Bundle, CertificateService, ExternalCertificate, ExternalError, ExternalRequest, ExternalSigner, Holders, ImpersonationError, Metrics,
    NodeAccounts, NodeWorkloads, PeerLimits, Peers, ServiceAccount, TrustDomains,
    api::{CREATE_CERTIFICATE, CertificateRequest, CertificateResponse},
    authenticate::{
        Authenticator, Caller, ClientCertificate, Credential, PodReference, Presented, Refusal, TokenIssuer, Tokens, TokensSettings,
    },
};
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use mesh::{HOUR, Keys, Mesh, csr, csr_of, now, root};
use prost::Message;
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::SystemTime,
};

fn identity(namespace: &str, service_account: &str) -> SpiffeIdentity {
    SpiffeIdentity { trust_domain: "cluster.local".into(), namespace: namespace.into(), service_account: service_account.into() }
}

#[tokio::test]
async fn the_first_credential_that_proves_something_counts() {
    let mesh = Mesh::new();
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let tokens = Tokens::new(ClusterId::new("Kubernetes"), TokensSettings::default());
    tokens.set_cluster(ClusterId::new("Kubernetes"), mesh.keys.clone(), None);
    let authenticator =
        Authenticator::new(mesh.authority.clone(), tokens, metrics).with_trusted_gateways(vec!["10.9.0.0/16".parse().unwrap()]);
    let valid = ClientCertificate { identity: identity("shop", "cart"), expires: now() + 60 };
    let (expired, foreign) = (
        ClientCertificate { expires: now() - 1, ..valid.clone() },
        ClientCertificate { identity: SpiffeIdentity { trust_domain: "elsewhere".into(), ..identity("shop", "cart") }, ..valid.clone() },
    );
    let token = format!("Bearer {}", mesh.token("bank", "teller"));
    let forwarded = "URI=spiffe://cluster.local/ns/edge/sa/agent";
    let (gateway, stranger): (IpAddr, IpAddr) = ("10.9.3.4".parse().unwrap(), "10.8.3.4".parse().unwrap());
    let ask = async |certificate, authorization, forwarded, address| {
        let presented = Presented { certificate, authorization, forwarded, address: Some(address), ..Presented::default() };
        authenticator.authenticate(presented, SystemTime::now()).await.map(|caller| (caller.identity.namespace, caller.credential))
    };
    let (by_certificate, by_token) = (Ok(("shop".to_owned(), Credential::Certificate)), Ok(("bank".to_owned(), Credential::Token)));
    let by_gateway = Ok(("edge".to_owned(), Credential::ForwardedCertificate));
    assert_eq!(ask(Some(&valid), Some(&token), Some(forwarded), gateway).await, by_certificate);
    assert_eq!(ask(Some(&expired), Some(&token), Some(forwarded), gateway).await, by_token);
    assert_eq!(ask(Some(&foreign), Some("Bearer nothing"), Some(forwarded), gateway).await, by_gateway);
    assert_eq!(ask(None, None, Some(forwarded), gateway).await, by_gateway);
    // Nobody else is believed, and of several refusals the first is told.
    assert_eq!(ask(None, None, Some(forwarded), stranger).await, Err(Refusal::NoCredential));
    assert_eq!(ask(Some(&expired), None, Some(forwarded), stranger).await, Err(Refusal::CertificateExpired));
    assert_eq!(ask(None, None, Some("Hash=1"), gateway).await, Err(Refusal::Forwarded));
}

#[tokio::test]
async fn one_more_issuer_has_audiences_of_its_own() {
    let mesh = Mesh::new();
    let keys = Arc::new(Keys::default());
    // The library's issuer of tokens signs as "istiod".
    let other = TokenIssuer::generate().unwrap();
    *keys.document.lock().unwrap() = ca::authenticate::KeyDocument { key_set: other.key_set(), issuer: Some(issuer_of(&other)) };
    let tokens =
        Tokens::new(ClusterId::new("Kubernetes"), TokensSettings::default()).with_issuer(issuer_of(&other), vec!["machines".into()], keys);
    let authenticator = Authenticator::new(mesh.authority.clone(), tokens, Metrics::new(&prometheus::Registry::new()).unwrap());
    let ask = async |audience: &str| {
        let token = format!("Bearer {}", other.issue("shop", "machine", audience, HOUR, now()).unwrap());
        let presented = Presented { authorization: Some(&token), cluster: Some("nowhere"), ..Presented::default() };
        authenticator.authenticate(presented, SystemTime::now()).await.map(|caller| (caller.identity, caller.cluster))
    };
    assert_eq!(ask("machines").await, Ok((identity("shop", "machine"), None)));
    assert!(matches!(ask("istio-ca").await, Err(Refusal::Token(ca::authenticate::TokenError::Audience))));
}

fn issuer_of(issuer: &TokenIssuer) -> String {
    let token = issuer.issue("a", "b", "c", HOUR, now()).unwrap();
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
    serde_json::from_slice::<serde_json::Value>(&payload).unwrap()["iss"].as_str().unwrap().to_owned()
}

/// One node proxy on the node `one`, where `shop/cart` runs, and `shop/admin` on another.
struct Nodes;

impl NodeWorkloads for Nodes {
    fn node_of(&self, _: &ClusterId, pod: &PodReference, account: &ServiceAccount) -> Option<Arc<str>> {
        (account.name == "ztunnel" && pod.name == "ztunnel-x" && pod.uid == "1").then(|| Arc::from("one"))
    }

    fn runs(&self, _: &ClusterId, node: &str, account: &ServiceAccount) -> bool {
        account.namespace == "shop" && matches!((node, account.name.as_str()), ("one", "cart") | ("two", "admin"))
    }
}

#[test]
fn a_node_proxy_may_be_who_runs_on_its_node_and_nobody_else() {
    let account = |namespace: &str, name: &str| ServiceAccount { namespace: namespace.into(), name: name.into() };
    let accounts = NodeAccounts { trusted: [account("istio-system", "ztunnel")].into(), workloads: Arc::new(Nodes) };
    let domains = TrustDomains { own: "cluster.local".into(), aliases: vec!["old.example".into()] };
    let pod = |uid: &str| Some(PodReference { name: "ztunnel-x".into(), uid: uid.into() });
    let proxy = |uid: &str| Caller {
        identity: identity("istio-system", "ztunnel"),
        credential: Credential::Token,
        pod: pod(uid),
        cluster: Some(ClusterId::new("Kubernetes")),
    };
    let cart = identity("shop", "cart");
    assert_eq!(accounts.check(&proxy("1"), &cart.to_string(), &domains), Ok(cart.clone()));
    assert_eq!(accounts.check(&proxy("1"), "spiffe://old.example/ns/shop/sa/cart", &domains), Ok(cart.clone()));
    let refused = |caller: &Caller, wanted: &str| accounts.check(caller, wanted, &domains).unwrap_err();
    assert!(matches!(refused(&proxy("1"), "spiffe://cluster.local/ns/shop/sa/admin"), ImpersonationError::NotThere { .. }));
    assert!(matches!(refused(&proxy("1"), "spiffe://other.example/ns/shop/sa/cart"), ImpersonationError::Identity(_)));
    assert!(matches!(refused(&proxy("1"), "admin"), ImpersonationError::Identity(_)));
    assert!(matches!(refused(&proxy("2"), &cart.to_string()), ImpersonationError::UnknownPod(_)), "another pod of that name");
    let workload = Caller { identity: identity("shop", "admin"), ..proxy("1") };
    assert!(matches!(refused(&workload, &cart.to_string()), ImpersonationError::NotTrusted(_)));
    for caller in [
        Caller { credential: Credential::Certificate, ..proxy("1") },
        Caller { pod: None, ..proxy("1") },
        Caller { cluster: None, ..proxy("1") },
    ] {
        assert_eq!(refused(&caller, &cart.to_string()), ImpersonationError::NoPod);
    }
}

/// Signs the names that a test tells it to.
struct Elsewhere {
    material: ca::KeyMaterial,
    names: Mutex<Vec<SanType>>,
    other_key: bool,
}

impl ExternalSigner for Elsewhere {
    fn sign<'a>(&'a self, request: &'a ExternalRequest) -> BoxFuture<'a, Result<ExternalCertificate, ExternalError>> {
        Box::pin(async {
            if request.signer.as_deref() == Some("unknown") {
                return Err(ExternalError::Refused("no such signer".into()));
            }
            let issuer = Issuer::from_ca_cert_pem(&self.material.certificate, KeyPair::from_pem(&self.material.key).unwrap()).unwrap();
            let mut params = CertificateParams::default();
            params.subject_alt_names = self.names.lock().unwrap().clone();
            let key = ca::csr::verify(&request.csr).unwrap();
            let other = KeyPair::generate().unwrap();
            let certificate = match self.other_key {
                true => params.signed_by(&other, &issuer).unwrap(),
                false => params.signed_by(&key, &issuer).unwrap(),
            };
            let roots = Arc::new(Bundle::parse(&self.material.roots).unwrap());
            Ok(ExternalCertificate { chain: vec![certificate.into()], roots })
        })
    }
}

async fn ask(service: &CertificateService, token: &str, csr: String) -> Result<CertificateResponse, String> {
    let message = CertificateRequest { csr, ..CertificateRequest::default() }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let request = http::Request::post(CREATE_CERTIFICATE).header("authorization", format!("Bearer {token}"));
    let body = Full::new(bytes::Bytes::from(frame));
    let response = service.handle(request.body(body).unwrap(), "10.0.0.1:4000".parse().unwrap(), None).await;
    if let Some(status) = tonic::Status::from_header_map(response.headers()) {
        return Err(status.message().to_owned());
    }
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    Ok(CertificateResponse::decode(&bytes[5..]).unwrap())
}

#[tokio::test]
async fn an_external_signer_signs_the_callers_identity_or_nothing() {
    let mesh = Mesh::new();
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let cart = "spiffe://cluster.local/ns/shop/sa/cart";
    let key = KeyPair::generate().unwrap();
    let asking = |names: Vec<SanType>| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        csr_of(&key, params)
    };
    let service = |signer: Arc<Elsewhere>| {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let (peers, holders) = (Peers::new(PeerLimits::default()), Arc::new(Holders::default()));
        CertificateService::new(mesh.authority.clone(), mesh.authenticator.clone(), peers, metrics, holders).with_external_signer(signer)
    };
    let material = root();
    let signer = Arc::new(Elsewhere { material: material.clone(), names: Mutex::new(vec![uri(cart)]), other_key: false });
    let (with, token) = (service(signer.clone()), mesh.token("shop", "cart"));
    let answer = ask(&with, &token, asking(vec![uri(cart)])).await.unwrap();
    assert_eq!(answer.cert_chain.len(), 2);
    let roots = ca::pem::certificates(&answer.cert_chain[1]).unwrap();
    assert_eq!(roots.len(), 2, "those of the signer, and ours for who has a certificate of us");
    let leaf = ca::pem::certificates(&answer.cert_chain[0]).unwrap().remove(0);
    assert_eq!(ClientCertificate::read(&leaf).unwrap().identity.to_string(), cart);

    // What would be signed as it is must ask for nothing else.
    let admin = "spiffe://cluster.local/ns/shop/sa/admin";
    for names in [vec![], vec![uri(admin)], vec![uri(cart), uri(admin)], vec![uri(cart), SanType::DnsName("istiod".try_into().unwrap())]] {
        let error = ask(&with, &token, asking(names)).await.unwrap_err();
        assert!(error.contains("only name"), "{error}");
    }
    assert!(ask(&with, &token, csr()).await.is_err());
    // What comes back must be what was asked for.
    for (names, other_key, part) in
        [(vec![uri(admin)], false, "names"), (vec![uri(cart), uri(admin)], false, "names"), (vec![uri(cart)], true, "another key")]
    {
        let wrong = Arc::new(Elsewhere { material: material.clone(), names: Mutex::new(names), other_key });
        let error = ask(&service(wrong), &token, asking(vec![uri(cart)])).await.unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let foreign = ca::KeyMaterial { roots: root().roots, ..material };
    let wrong = Arc::new(Elsewhere { material: foreign, names: Mutex::new(vec![uri(cart)]), other_key: false });
    assert!(ask(&service(wrong), &token, asking(vec![uri(cart)])).await.is_err(), "it does not chain to its own roots");
}
