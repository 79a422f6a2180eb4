//! A CA with one cluster, whose tokens the test makes itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, dead_code)] // a failed unwrap is a failed test; not every test needs all

use base::ClusterId;
use bytes::{BufMut, Bytes, BytesMut};
use ca::{
    Authority, CertificateService, Holders, Metrics, PeerLimits, Peers, Settings, Signer, TrustDomains,
    api::{CREATE_CERTIFICATE, CertificateRequest, CertificateResponse},
    authenticate::{Authenticator, ClientCertificate, KeyDocument, KeySource, TokenIssuer, TokenReviewer, Tokens, TokensSettings},
};
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};
use tonic::Code;

pub const HOUR: Duration = Duration::from_secs(3600);

/// Keys that the test may change; counts how often they are asked for.
#[derive(Default)]
pub struct Keys {
    pub document: Mutex<KeyDocument>,
    pub fetched: AtomicUsize,
}

impl KeySource for Keys {
    fn fetch(&self) -> BoxFuture<'_, Result<KeyDocument, String>> {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(self.document.lock().unwrap().clone()) })
    }
}

pub struct Mesh {
    pub authority: Arc<Authority>,
    pub authenticator: Arc<Authenticator>,
    pub service: CertificateService,
    pub issuer: TokenIssuer,
    pub keys: Arc<Keys>,
    pub holders: Arc<Holders>,
    pub registry: prometheus::Registry,
}

pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A self-signed root.
pub fn root() -> ca::KeyMaterial {
    ca::generate("cluster.local", ca::KeyAlgorithm::EcdsaP256, 24 * HOUR, SystemTime::now()).unwrap()
}

impl Mesh {
    pub fn new() -> Self {
        Self::with(&root(), PeerLimits::default(), None)
    }

    pub fn with(material: &ca::KeyMaterial, limits: PeerLimits, reviewer: Option<Arc<dyn TokenReviewer>>) -> Self {
        let authority = Arc::new(Authority::new(Signer::new(material, SystemTime::now()).unwrap(), Settings::default()));
        authority.set_trust_domains(TrustDomains { own: "cluster.local".into(), aliases: vec!["old.example".into()] });
        let issuer = TokenIssuer::generate().unwrap();
        let keys = Arc::new(Keys::default());
        keys.document.lock().unwrap().key_set = issuer.key_set();
        let settings = TokensSettings { refresh_gap: Duration::ZERO, ..TokensSettings::default() };
        let tokens = Tokens::new(ClusterId::new("Kubernetes"), settings);
        tokens.set_cluster(ClusterId::new("Kubernetes"), keys.clone(), reviewer);
        let registry = prometheus::Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let authenticator = Arc::new(Authenticator::new(authority.clone(), tokens, metrics.clone()));
        let holders = Arc::new(Holders::default());
        let service = CertificateService::new(authority.clone(), authenticator.clone(), Peers::new(limits), metrics, holders.clone());
        Self { authority, authenticator, service, issuer, keys, holders, registry }
    }

    /// A good token of a service account.
    pub fn token(&self, namespace: &str, service_account: &str) -> String {
        self.issuer.issue(namespace, service_account, "istio-ca", HOUR, now()).unwrap()
    }

    /// Asks for a certificate with a token.
    pub async fn ask(&self, csr: &str, token: &str) -> Result<CertificateResponse, (Code, String)> {
        self.send(&CertificateRequest { csr: csr.to_owned(), ..CertificateRequest::default() }, Some(token), None).await
    }

    /// Sends a request as gRPC frames it.
    pub async fn send(
        &self,
        message: &CertificateRequest,
        token: Option<&str>,
        certificate: Option<&ClientCertificate>,
    ) -> Result<CertificateResponse, (Code, String)> {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut frame).unwrap();
        self.send_bytes(frame.freeze(), token, certificate).await
    }

    /// Sends any bytes.
    pub async fn send_bytes(
        &self,
        bytes: Bytes,
        token: Option<&str>,
        certificate: Option<&ClientCertificate>,
    ) -> Result<CertificateResponse, (Code, String)> {
        let mut request = http::Request::post(CREATE_CERTIFICATE);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let address: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        let response = self.service.handle(request.body(Full::new(bytes)).unwrap(), address, certificate).await;
        let status = tonic::Status::from_header_map(response.headers());
        if let Some(status) = status {
            return Err((status.code(), status.message().to_owned()));
        }
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        let bytes = body.to_bytes();
        Ok(CertificateResponse::decode(&bytes[5..]).unwrap())
    }

    /// The value of a counter of the mesh, of all labels together.
    pub fn counted(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().filter(|family| family.name() == name);
        let metrics = family.flat_map(|family| family.get_metric());
        let matching = metrics.filter(|metric| label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label));
        matching.map(|metric| metric.get_counter().get_value()).sum()
    }
}

/// An intermediate under a root, as an operator plugs it in.
pub fn intermediate(root: &ca::KeyMaterial) -> ca::KeyMaterial {
    let issuer = Issuer::from_ca_cert_pem(&root.certificate, KeyPair::from_pem(&root.key).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "intermediate");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_after = (SystemTime::now() + 12 * HOUR).into();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let chain = format!("{certificate}{}", root.certificate);
    ca::KeyMaterial { certificate, key: key.serialize_pem(), chain, roots: root.certificate.clone(), crl: None }
}

/// A CSR that asks for nothing.
pub fn csr() -> String {
    csr_of(&KeyPair::generate().unwrap(), CertificateParams::default())
}

pub fn csr_of(key: &KeyPair, params: CertificateParams) -> String {
    params.serialize_request(key).unwrap().pem().unwrap()
}
