//! Envoy's secrets on a Unix socket (`StreamSecrets` and `DeltaSecrets`): `default`, `ROOTCA`, and files by name
//! (`file-cert:CHAIN~KEY`, `file-root:AUTHORITIES`).
//!
//! Only Envoy can reach the socket: it lies in a folder of the pod's own that the application does not mount.

use crate::certificate::Certificate;
use crate::files;
use crate::trust::{Edition, Following, Roots};
use base::secret_name::{FILE_CERTIFICATE, FILE_ROOT, FILE_SEPARATOR};
use futures::{Stream, StreamExt as _};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use xds_api::Wire as _;
use xds_api::envoy::config::core::v3::{DataSource, data_source::Specifier};
use xds_api::envoy::extensions::transport_sockets::tls::v3::{CertificateValidationContext, Secret, TlsCertificate, secret};
use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use xds_api::google::protobuf::Any;

/// The certificate of the workload.
const WORKLOAD: &str = "default";
/// The roots of the mesh.
const ROOTS: &str = "ROOTCA";
const TYPE_URL: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const STATE_OF_THE_WORLD: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
const DELTA: &str = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets";

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Where the secrets come from.
#[derive(Clone)]
pub struct Secrets {
    /// The workload's certificate; `None` until the first has come, for which Envoy waits.
    pub certificate: watch::Receiver<Option<Arc<Certificate>>>,
    /// The roots; whoever waits for their acceptance hears from here.
    pub roots: Roots,
}

/// Serves the socket until the process ends.
pub async fn serve(listener: UnixListener, secrets: Secrets) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let secrets = secrets.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| route(request, secrets.clone()));
            let served =
                hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            if let Err(error) = served {
                tracing::debug!("Envoy's connection for secrets has ended: {error}");
            }
        });
    }
}

async fn route(request: http::Request<Incoming>, secrets: Secrets) -> Result<http::Response<tonic::body::Body>, Infallible> {
    Ok(match request.uri().path() {
        STATE_OF_THE_WORLD => {
            let service = tower::service_fn(move |request: Request<Streaming<DiscoveryRequest>>| {
                let secrets = secrets.clone();
                async move { Ok::<Response<Answers<DiscoveryResponse>>, Status>(Response::new(stream(request.into_inner(), secrets))) }
            });
            tonic::server::Grpc::new(ProstCodec::default()).streaming(service, request).await
        }
        DELTA => {
            let service = tower::service_fn(move |request: Request<Streaming<DeltaDiscoveryRequest>>| {
                let secrets = secrets.clone();
                async move { Ok::<Response<Answers<DeltaDiscoveryResponse>>, Status>(Response::new(stream(request.into_inner(), secrets))) }
            });
            tonic::server::Grpc::new(ProstCodec::default()).streaming(service, request).await
        }
        _ => Status::unimplemented("only secrets are served here").into_http(),
    })
}

/// What the two protocols differ in.
trait Protocol: Send + 'static {
    type Response: Send + 'static;
    /// Which response it answers, and what was wrong with that; empty for the first request.
    fn answer(&self) -> (&str, Option<&str>);
    /// Takes note of what the request subscribes to.
    fn subscribe(self, names: &mut BTreeSet<String>);
    /// A response with the secrets that have changed, out of all that are known.
    fn respond(secrets: &BTreeMap<String, Versioned>, changed: &BTreeSet<String>, nonce: u64) -> Self::Response;
}

#[derive(Clone, PartialEq)]
struct Versioned {
    version: String,
    body: Any,
}

impl Protocol for DiscoveryRequest {
    type Response = DiscoveryResponse;

    fn answer(&self) -> (&str, Option<&str>) {
        (&self.response_nonce, self.error_detail.as_ref().map(|error| error.message.as_str()))
    }

    fn subscribe(self, names: &mut BTreeSet<String>) {
        if let Some(error) = &self.error_detail {
            tracing::warn!(secrets = ?self.resource_names, "Envoy has refused a secret: {}", error.message);
        }
        *names = self.resource_names.into_iter().collect();
    }

    fn respond(secrets: &BTreeMap<String, Versioned>, _changed: &BTreeSet<String>, nonce: u64) -> DiscoveryResponse {
        DiscoveryResponse {
            version_info: secrets.values().map(|secret| secret.version.as_str()).collect::<Vec<_>>().join("-"),
            resources: secrets.values().map(|secret| secret.body.clone()).collect(),
            type_url: TYPE_URL.to_owned(),
            nonce: nonce.to_string(),
            ..DiscoveryResponse::default()
        }
    }
}

impl Protocol for DeltaDiscoveryRequest {
    type Response = DeltaDiscoveryResponse;

    fn answer(&self) -> (&str, Option<&str>) {
        (&self.response_nonce, self.error_detail.as_ref().map(|error| error.message.as_str()))
    }

    fn subscribe(self, names: &mut BTreeSet<String>) {
        if let Some(error) = &self.error_detail {
            tracing::warn!("Envoy has refused a secret: {}", error.message);
        }
        for name in &self.resource_names_unsubscribe {
            names.remove(name);
        }
        names.extend(self.resource_names_subscribe);
    }

    fn respond(secrets: &BTreeMap<String, Versioned>, changed: &BTreeSet<String>, nonce: u64) -> DeltaDiscoveryResponse {
        let resource = |(name, secret): (&String, &Versioned)| Resource {
            name: name.clone(),
            version: secret.version.clone(),
            resource: Some(secret.body.clone()),
            ..Resource::default()
        };
        DeltaDiscoveryResponse {
            resources: secrets.iter().filter(|(name, _)| changed.contains(*name)).map(resource).collect(),
            type_url: TYPE_URL.to_owned(),
            nonce: nonce.to_string(),
            ..DeltaDiscoveryResponse::default()
        }
    }
}

/// Answers one stream until it ends.
fn stream<P: Protocol>(mut requests: Streaming<P>, mut secrets: Secrets) -> Answers<P::Response> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut sent: BTreeMap<String, Versioned> = BTreeMap::new();
        let (mut nonce, mut offered) = (0, None);
        let (mut roots, mut following) = (secrets.roots.changes(), None);
        loop {
            let files: Vec<PathBuf> = names.iter().flat_map(|name| paths(name)).collect();
            let fingerprint = files::fingerprint(&files).await;
            let edition = secrets.roots.edition();
            let now = collect(&names, &secrets, &edition).await;
            let changed: BTreeSet<String> =
                now.iter().filter(|(name, secret)| sent.get(*name) != Some(secret)).map(|(name, _)| name.clone()).collect();
            if !changed.is_empty() {
                nonce += 1;
                if changed.contains(ROOTS) {
                    offered = Some(Offer { nonce: nonce.to_string(), edition: edition.number });
                }
                if sender.send(Ok(P::respond(&now, &changed, nonce))).await.is_err() {
                    return;
                }
            }
            sent = now;
            tokio::select! {
                request = requests.next() => {
                    let Some(Ok(request)) = request else { return };
                    let (answered, error) = request.answer();
                    Offer::answered(&mut offered, answered, error, following.as_ref());
                    request.subscribe(&mut names);
                    following = names.contains(ROOTS).then(|| following.take().unwrap_or_else(|| secrets.roots.follow()));
                }
                // Without a sender there will be no other certificate; the stream stays for files.
                Ok(()) = secrets.certificate.changed() => {}
                () = roots.changed() => {}
                () = files::changed(&files, fingerprint) => {}
            }
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

/// An edition of the roots that Envoy has not answered yet.
struct Offer {
    nonce: String,
    edition: u64,
}

impl Offer {
    fn answered(offered: &mut Option<Self>, nonce: &str, error: Option<&str>, following: Option<&Following>) {
        let (Some(offer), Some(following)) = (offered.take_if(|offer| offer.nonce == nonce), following) else { return };
        match error {
            None => following.accept(offer.edition),
            Some(message) => following.refuse(offer.edition, message.to_owned()),
        }
    }
}

/// The secrets of these names that exist at present.
async fn collect(names: &BTreeSet<String>, secrets: &Secrets, roots: &Edition) -> BTreeMap<String, Versioned> {
    let certificate = secrets.certificate.borrow().clone();
    let mut found = BTreeMap::new();
    for name in names {
        let secret = match name.as_str() {
            WORKLOAD => certificate.as_ref().map(|one| pair(one.chain_pem.as_bytes(), one.key_pem.as_bytes())),
            ROOTS => (!roots.pem.is_empty()).then(|| authorities(roots.pem.as_bytes())),
            _ => from_files(name).await,
        };
        if let Some(kind) = secret {
            let body = Secret { name: name.clone(), r#type: Some(kind) }.to_any();
            let version = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&body.value));
            found.insert(name.clone(), Versioned { version, body });
        }
    }
    found
}

/// The files behind a name, none for other names.
fn paths(name: &str) -> Vec<PathBuf> {
    if let Some((chain, key)) = name.strip_prefix(FILE_CERTIFICATE).and_then(|pair| pair.split_once(FILE_SEPARATOR)) {
        return vec![chain.into(), key.into()];
    }
    name.strip_prefix(FILE_ROOT).map(PathBuf::from).into_iter().collect()
}

/// Absent files give no secret: Envoy waits for them.
async fn from_files(name: &str) -> Option<secret::Type> {
    let mut contents = Vec::new();
    for path in paths(name) {
        match tokio::fs::read(&path).await {
            Ok(content) => contents.push(content),
            Err(error) => {
                tracing::warn!("the secret {name} is not there yet: {}: {error}", path.display());
                return None;
            }
        }
    }
    match contents.as_slice() {
        [chain, key] => Some(pair(chain, key)),
        [roots] => Some(authorities(roots)),
        _ => None,
    }
}

fn inline(bytes: &[u8]) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineBytes(bytes.to_vec())), ..DataSource::default() })
}

fn pair(chain: &[u8], key: &[u8]) -> secret::Type {
    secret::Type::TlsCertificate(TlsCertificate { certificate_chain: inline(chain), private_key: inline(key), ..TlsCertificate::default() })
}

fn authorities(roots: &[u8]) -> secret::Type {
    secret::Type::ValidationContext(CertificateValidationContext { trusted_ca: inline(roots), ..CertificateValidationContext::default() })
}
