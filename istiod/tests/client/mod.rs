//! A client of the secured port, as an agent is one.
#![allow(clippy::unwrap_used, dead_code)] // a failed unwrap is a failed test; not every test needs all

use ca::{
    api::{CREATE_CERTIFICATE, CertificateRequest, CertificateResponse, NODE_HEADER},
    pem,
};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use xds_api::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    },
    google::protobuf::{Struct, Value, value::Kind},
};

/// A certificate with its key.
#[derive(Clone)]
pub struct Held {
    pub chain: Vec<String>,
    pub key: String,
}

/// One client: trusts the roots in a file, and shows a certificate if it has one.
pub struct Client {
    address: String,
    config: Arc<ClientConfig>,
}

/// TLS as Envoys speak it among each other: with ALPN `istio`. The other side's certificate is of these roots, and has no DNS
/// name, so it is looked at for its signature only.
pub async fn connect_to_workload(address: SocketAddr, roots: &Path, held: Option<&Held>) -> std::io::Result<TlsStream<TcpStream>> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store(roots)), Arc::new(aws_lc_rs::default_provider()));
    let verifier = Arc::new(Nameless(verifier.build().unwrap()));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match held {
        Some(held) => builder.with_client_auth_cert(held.certificates(), pem::private_key(&held.key).unwrap()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"istio".to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("workload.test").unwrap(), stream).await
}

/// Knows who has signed, and does not ask for a name.
#[derive(Debug)]
struct Nameless(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Nameless {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl Held {
    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let (_, leaves) = self.chain.split_last().unwrap();
        leaves.iter().flat_map(|text| pem::certificates(text).unwrap()).collect()
    }
}

fn store(roots: &Path) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(pem::certificates(&std::fs::read_to_string(roots).unwrap()).unwrap());
    store
}

impl Client {
    pub fn new(address: &str, roots: &Path, held: Option<&Held>) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(store(roots));
        let mut config = match held {
            Some(held) => builder.with_client_auth_cert(held.certificates(), pem::private_key(&held.key).unwrap()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { address: address.to_owned(), config: Arc::new(config) }
    }

    /// A connection after its handshake.
    pub async fn connect(&self, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await?;
        TlsConnector::from(self.config.clone()).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
    }

    /// A gRPC channel to istiod by its usual name.
    pub async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let (address, config) = (self.address.clone(), self.config.clone());
        let connect = move |_| {
            let (address, config) = (address.clone(), config.clone());
            async move {
                let stream = TcpStream::connect(&address).await?;
                let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
                TlsConnector::from(config).connect(name, stream).await.map(TokioIo::new)
            }
        };
        Endpoint::from_static("http://istiod").connect_with_connector(tower::service_fn(connect)).await
    }

    /// Asks for a certificate.
    pub async fn certificate(&self, token: Option<&str>) -> Result<Held, Status> {
        self.certificate_of(token, "").await
    }

    /// Asks for a certificate, as the agent of a node.
    pub async fn certificate_of(&self, token: Option<&str>, node: &str) -> Result<Held, Status> {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let channel = self.channel().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        // As Istio's agent has it: a signer is always named, and has no name.
        let signer = Value { kind: Some(Kind::StringValue(String::new())) };
        let metadata = Some(Struct { fields: [("CertSigner".to_owned(), signer)].into() });
        let mut request = with_token(CertificateRequest { csr, metadata, ..CertificateRequest::default() }, token);
        request.metadata_mut().insert("clusterid", "Kubernetes".parse().unwrap());
        if !node.is_empty() {
            request.metadata_mut().insert(NODE_HEADER, node.parse().unwrap());
        }
        let codec = ProstCodec::<CertificateRequest, CertificateResponse>::default();
        let response = grpc.unary(request, CREATE_CERTIFICATE.parse().unwrap(), codec).await?;
        Ok(Held { chain: response.into_inner().cert_chain, key: key.serialize_pem() })
    }

    /// Opens a stream of configuration as a proxy, and asks for one type.
    pub async fn stream(&self, node: Node, token: Option<&str>, type_url: &str) -> Result<Stream, Status> {
        self.stream_of(node, token, type_url, Vec::new()).await
    }

    /// The same with names.
    pub async fn stream_of(&self, node: Node, token: Option<&str>, type_url: &str, names: Vec<String>) -> Result<Stream, Status> {
        let (requests, outgoing) = mpsc::channel(8);
        let first = DeltaDiscoveryRequest {
            node: Some(node),
            type_url: type_url.to_owned(),
            resource_names_subscribe: names,
            ..Default::default()
        };
        requests.send(first).await.unwrap();
        let channel = self.channel().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
        let request = with_token(ReceiverStream::new(outgoing), token);
        let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources".parse().unwrap();
        let mut responses = grpc.streaming(request, path, codec).await?.into_inner();
        let first = next(&mut responses).await?;
        Ok(Stream { requests, responses, first })
    }
}

/// An open stream, after the first response.
pub struct Stream {
    pub requests: mpsc::Sender<DeltaDiscoveryRequest>,
    pub responses: Streaming<DeltaDiscoveryResponse>,
    pub first: DeltaDiscoveryResponse,
}

impl Stream {
    /// Accepts a response.
    pub async fn accept(&self, response: &DeltaDiscoveryResponse) {
        let (type_url, response_nonce) = (response.type_url.clone(), response.nonce.clone());
        self.requests.send(DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }).await.unwrap();
    }

    /// The next response, which must come soon.
    pub async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        next(&mut self.responses).await
    }
}

async fn next(responses: &mut Streaming<DeltaDiscoveryResponse>) -> Result<DeltaDiscoveryResponse, Status> {
    let message = tokio::time::timeout(Duration::from_secs(10), responses.message()).await;
    message.map_err(|_| Status::deadline_exceeded("no response"))??.ok_or_else(|| Status::unavailable("the stream has ended"))
}

fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// A gateway of an agent, for Gateways that select the label `app: entrance`.
pub fn router(pod: &str, namespace: &str, service_account: &str) -> Node {
    let mut node = node(pod, namespace, service_account);
    node.id = node.id.replacen("sidecar", "router", 1);
    let app = Value { kind: Some(Kind::StringValue("entrance".to_owned())) };
    let labels = Struct { fields: [("app".to_owned(), app)].into() };
    let labels = Value { kind: Some(Kind::StructValue(labels)) };
    node.metadata.get_or_insert_default().fields.insert("LABELS".to_owned(), labels);
    node
}

/// A sidecar of an agent.
pub fn node(pod: &str, namespace: &str, service_account: &str) -> Node {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = [("NAMESPACE", namespace), ("SERVICE_ACCOUNT", service_account), ("ISTIO_VERSION", "1.32.0")];
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), text(value))).collect();
    Node {
        id: format!("sidecar~10.1.0.9~{pod}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct { fields }),
        ..Node::default()
    }
}
