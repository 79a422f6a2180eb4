//! A server over a fake control plane, and real gRPC clients on in-memory pipes, so that a test's clock can stand still.
#![allow(dead_code, unused_imports)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed unwrap is a failed test

use ads::{ConnectError, Connections, Discovery, Options, Peer, Rejection, Server, Subscription};
use hyper_util::rt::TokioIo;
use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;
use xds_api::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse},
};
use xds_wire::{ResourceType, View};

/// One class, and a record of what the server tells.
pub struct Fake {
    pub view: watch::Sender<Arc<View>>,
    pub rejections: Mutex<Vec<Rejection>>,
    pub recovered: Mutex<Vec<ResourceType>>,
    pub connected: Mutex<usize>,
}

struct Guard(Arc<Fake>);

impl Drop for Guard {
    fn drop(&mut self) {
        *self.0.connected.lock().unwrap() -= 1;
    }
}

struct FakeDiscovery(Arc<Fake>);

impl Discovery for FakeDiscovery {
    fn connect(&self, node: Node, _: Peer) -> Pin<Box<dyn Future<Output = Result<Subscription, ConnectError>> + Send + '_>> {
        Box::pin(async move {
            match node.id.as_str() {
                "" => return Err(ConnectError::InvalidNode("no id".to_owned())),
                "early" => return Err(ConnectError::NotReady("sources".to_owned())),
                _ => {}
            }
            *self.0.connected.lock().unwrap() += 1;
            Ok(Subscription { view: self.0.view.subscribe(), guard: Box::new(Guard(self.0.clone())), secrets: ads::SecretAccess::All })
        })
    }

    fn rejected(&self, rejection: Rejection) {
        self.0.rejections.lock().unwrap().push(rejection);
    }

    fn recovered(&self, _: &str, kind: ResourceType) {
        self.0.recovered.lock().unwrap().push(kind);
    }
}

pub struct TestServer {
    pub server: Server,
    pub fake: Arc<Fake>,
    pub connections: Connections,
    pub registry: prometheus::Registry,
}

pub const LOOPBACK: &str = "127.0.0.1:4000";

impl TestServer {
    pub fn new(view: Arc<View>) -> Self {
        Self::with(view, |_| {})
    }

    pub fn with(view: Arc<View>, change: impl FnOnce(&mut Options)) -> Self {
        let fake = Arc::new(Fake {
            view: watch::Sender::new(view),
            rejections: Mutex::default(),
            recovered: Mutex::default(),
            connected: Mutex::default(),
        });
        let mut options = Options { keepalive: None, ..Options::default() };
        change(&mut options);
        let registry = options.registry.clone();
        let connections = Connections::default();
        let server = Server::new(Arc::new(FakeDiscovery(fake.clone())), options, connections.clone()).unwrap();
        Self { server, fake, connections, registry }
    }

    /// A gRPC channel to the server from `address`.
    pub async fn channel(&self, address: &str) -> Grpc<tonic::transport::Channel> {
        let (near, far) = tokio::io::duplex(64 << 10);
        let address: SocketAddr = address.parse().unwrap();
        let server = self.server.clone();
        tokio::spawn(async move { server.serve_connection(far, Peer { address, identity: None }).await });
        let mut near = Some(near);
        let connector = tower::service_fn(move |_| {
            let near = near.take().map(TokioIo::new).ok_or_else(|| std::io::Error::other("the connection is gone"));
            std::future::ready(near)
        });
        let channel = Endpoint::from_static("http://ads").connect_with_connector(connector).await.unwrap();
        Grpc::new(channel).max_decoding_message_size(usize::MAX)
    }

    pub async fn delta(&self, address: &str) -> DeltaClient {
        open(self.channel(address).await, "DeltaAggregatedResources").await.unwrap()
    }

    pub async fn sotw(&self, address: &str) -> SotwClient {
        open(self.channel(address).await, "StreamAggregatedResources").await.unwrap()
    }

    /// The value of a counter, summed over its labels.
    pub fn counted(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().filter(|family| family.name() == name);
        family.flat_map(|family| family.get_metric()).map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
    }
}

/// A delta stream on a channel of the test's own.
pub async fn connect(channel: tonic::transport::Channel) -> DeltaClient {
    open(Grpc::new(channel), "DeltaAggregatedResources").await.unwrap()
}

/// One stream, from the client's side.
pub struct Client<Q, R> {
    pub requests: mpsc::Sender<Q>,
    pub responses: Streaming<R>,
}

pub type DeltaClient = Client<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
pub type SotwClient = Client<DiscoveryRequest, DiscoveryResponse>;

async fn open<Q, R>(mut grpc: Grpc<tonic::transport::Channel>, method: &str) -> Result<Client<Q, R>, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    R: prost::Message + Default + Send + Sync + 'static,
{
    let (requests, receiver) = mpsc::channel(16);
    grpc.ready().await.unwrap();
    let path = format!("/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}").parse().unwrap();
    let responses = grpc.streaming(tonic::Request::new(ReceiverStream::new(receiver)), path, ProstCodec::<Q, R>::default()).await?;
    Ok(Client { requests, responses: responses.into_inner() })
}

impl<Q: std::fmt::Debug, R> Client<Q, R> {
    pub async fn send(&self, request: Q) {
        self.requests.send(request).await.unwrap();
    }

    pub async fn next(&mut self) -> R {
        self.responses.message().await.unwrap().unwrap()
    }

    /// How the server ends the stream.
    pub async fn end(&mut self) -> Status {
        match self.responses.message().await {
            Ok(_) => panic!("a message instead of an end"),
            Err(status) => status,
        }
    }
}

pub fn node(id: &str) -> Option<Node> {
    Some(Node { id: id.to_owned(), ..Node::default() })
}

impl DeltaClient {
    /// Subscribes, and waits for the answer.
    pub async fn ask(&mut self, kind: ResourceType, names: &[&str]) -> DeltaDiscoveryResponse {
        let names = names.iter().map(|name| name.to_string()).collect();
        let request = DeltaDiscoveryRequest {
            node: node("sidecar~10.0.0.1~pod.shop~shop.svc.cluster.local"),
            type_url: kind.url().to_owned(),
            resource_names_subscribe: names,
            ..Default::default()
        };
        self.send(request).await;
        self.next().await
    }

    pub async fn accept(&self, response: &DeltaDiscoveryResponse) {
        let request =
            DeltaDiscoveryRequest { type_url: response.type_url.clone(), response_nonce: response.nonce.clone(), ..Default::default() };
        self.send(request).await;
    }
}

pub fn delta_names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}
