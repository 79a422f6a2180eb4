//! The SDS server of one workload on a Unix socket, as its agent serves it: the certificate is named `default`, the root
//! `ROOTCA`. Both the delta and the state-of-the-world protocol are there.

use super::certificates::{Authority, Certificate};
use anyhow::{Context, Result};
use envoy::tls::{CertificateSecret, ROOT_CERTIFICATE, WORKLOAD_CERTIFICATE, ca_secret, secret};
use futures::{Stream, StreamExt, stream::BoxStream};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use std::{collections::BTreeSet, convert::Infallible, future::ready, path::Path};
use tokio::{net::UnixListener, sync::watch};
use tonic::{Request, Response, Status, Streaming, body::Body, server::Grpc};
use tonic_prost::ProstCodec;
use xds_api::{
    Wire,
    envoy::extensions::transport_sockets::tls::v3::Secret,
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource},
};

const DELTA: &str = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets";
const STATE_OF_THE_WORLD: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
const TYPE_URL: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// What a server serves now, in its how-many-th edition.
#[derive(Clone)]
struct Edition {
    number: u64,
    secrets: Vec<Secret>,
}

impl Edition {
    fn of(number: u64, certificate: &Certificate, root: &str) -> Self {
        let own = CertificateSecret {
            name: WORKLOAD_CERTIFICATE,
            certificate_pem: certificate.chain.as_bytes(),
            key_pem: certificate.key.as_bytes(),
            ocsp_staple: None,
        };
        Self { number, secrets: vec![secret(&own), ca_secret(ROOT_CERTIFICATE, root.as_bytes(), None)] }
    }

    fn named<'a>(&'a self, names: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Secret> {
        self.secrets.iter().filter(|secret| names.contains(&secret.name))
    }
}

/// A running server, which ends with its runtime.
pub struct Sds(watch::Sender<Edition>);

impl Sds {
    /// Serves the certificate of `identity` on a Unix socket at `path`.
    ///
    /// # Errors
    /// If the socket or the certificate cannot be made.
    pub fn serve(authority: &Authority, identity: &str, path: &Path) -> Result<Self> {
        let edition = watch::Sender::new(Edition::of(1, &authority.issue(identity)?, authority.root()));
        let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
        let served = edition.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                let service = tower::service_fn(move |request| answer(request, served.subscribe()));
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
                tokio::spawn(connection);
            }
        });
        Ok(Self(edition))
    }

    /// Gives the workload a new certificate and another root, which Envoy then takes without a restart.
    ///
    /// # Errors
    /// If the certificate cannot be made.
    pub fn rotate(&self, authority: &Authority, identity: &str) -> Result<()> {
        let certificate = authority.issue(identity)?;
        self.0.send_modify(|edition| *edition = Edition::of(edition.number + 1, &certificate, authority.root()));
        Ok(())
    }
}

async fn answer(
    request: http::Request<hyper::body::Incoming>,
    edition: watch::Receiver<Edition>,
) -> Result<http::Response<Body>, Infallible> {
    Ok(match request.uri().path() {
        DELTA => {
            let handler = tower::service_fn(move |request: Request<Streaming<DeltaDiscoveryRequest>>| {
                ready(Ok::<_, Status>(Response::new(delta(request.into_inner(), edition.clone()))))
            });
            Grpc::new(ProstCodec::<DeltaDiscoveryResponse, DeltaDiscoveryRequest>::default()).streaming(handler, request).await
        }
        STATE_OF_THE_WORLD => {
            let handler = tower::service_fn(move |request: Request<Streaming<DiscoveryRequest>>| {
                ready(Ok::<_, Status>(Response::new(state_of_the_world(request.into_inner(), edition.clone()))))
            });
            Grpc::new(ProstCodec::<DiscoveryResponse, DiscoveryRequest>::default()).streaming(handler, request).await
        }
        path => Status::unimplemented(format!("unknown method {path}")).into_http(),
    })
}

/// What a stream waits for.
enum Next<R> {
    Request(R),
    Edition,
}

/// Requests and new editions, as they come; ends with the requests.
fn events<R: Send + 'static>(
    requests: Streaming<R>,
    edition: watch::Receiver<Edition>,
) -> impl Stream<Item = (Next<R>, Edition)> + Send + 'static {
    futures::stream::unfold((requests, edition), |(mut requests, mut edition)| async move {
        let next = tokio::select! {
            request = requests.next() => Next::Request(request?.ok()?),
            changed = edition.changed() => { changed.ok()?; Next::Edition }
        };
        let now = edition.borrow_and_update().clone();
        Some(((next, now), (requests, edition)))
    })
}

fn delta(
    requests: Streaming<DeltaDiscoveryRequest>,
    edition: watch::Receiver<Edition>,
) -> BoxStream<'static, Result<DeltaDiscoveryResponse, Status>> {
    let responses = events(requests, edition).scan(BTreeSet::new(), |names: &mut BTreeSet<String>, (next, edition)| {
        let asked: BTreeSet<String> = match next {
            Next::Edition => names.clone(),
            Next::Request(request) => {
                names.retain(|name| !request.resource_names_unsubscribe.contains(name));
                names.extend(request.resource_names_subscribe.iter().cloned());
                request.resource_names_subscribe.into_iter().collect()
            }
        };
        let version = edition.number.to_string();
        let resource = |secret: &Secret| Resource {
            name: secret.name.clone(),
            version: version.clone(),
            resource: Some(secret.to_any()),
            ..Resource::default()
        };
        let resources: Vec<Resource> = edition.named(&asked).map(resource).collect();
        let response = (!resources.is_empty()).then(|| DeltaDiscoveryResponse {
            type_url: TYPE_URL.to_owned(),
            nonce: version.clone(),
            system_version_info: version,
            resources,
            ..DeltaDiscoveryResponse::default()
        });
        ready(Some(response))
    });
    responses.filter_map(|response| ready(response.map(Ok))).boxed()
}

fn state_of_the_world(
    requests: Streaming<DiscoveryRequest>,
    edition: watch::Receiver<Edition>,
) -> BoxStream<'static, Result<DiscoveryResponse, Status>> {
    let responses = events(requests, edition).scan(BTreeSet::new(), |names: &mut BTreeSet<String>, (next, edition)| {
        let changed = match next {
            Next::Edition => true,
            // An acknowledgement repeats the names.
            Next::Request(request) => {
                let asked = request.resource_names.into_iter().collect();
                let changed = *names != asked;
                *names = asked;
                changed
            }
        };
        let version = edition.number.to_string();
        let resources: Vec<_> = if changed { edition.named(names).map(Wire::to_any).collect() } else { Vec::new() };
        let response = (!resources.is_empty()).then(|| DiscoveryResponse {
            type_url: TYPE_URL.to_owned(),
            nonce: version.clone(),
            version_info: version,
            resources,
            ..DiscoveryResponse::default()
        });
        ready(Some(response))
    });
    responses.filter_map(|response| ready(response.map(Ok))).boxed()
}
