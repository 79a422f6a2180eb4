//! One simulated proxy: subscribes as Envoy does, acknowledges everything, and counts.

use crate::{
    Flags, Variant,
    fields::{Value, bytes_of, text_of, walk},
    folder::namespace,
    frames::{self, Receiver, Sender},
    subscriptions::{follows, wanted},
    target::Target,
    tls::Identities,
};
use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::sync::OwnedSemaphorePermit;
use xds_api::{
    Wire,
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    },
    google::protobuf::{Struct, value::Kind},
};
use xds_wire::ResourceType;

/// What all streams share.
pub struct Shared {
    pub flags: Flags,
    /// Gives proxies their certificates; without it they speak plain text.
    pub identities: Option<Identities>,
    /// What is looked out for.
    pub target: RwLock<Option<Arc<Target>>>,
    pub streams: Vec<Counters>,
    /// Streams that ended by themselves.
    pub failed: AtomicU64,
    pub epoch: Instant,
}

/// Names and versions, by type.
pub type Held = BTreeMap<ResourceType, FxHashMap<Arc<str>, Arc<str>>>;

/// What one stream has received, over all its connections.
#[derive(Default)]
pub struct Counters {
    bytes: [AtomicU64; ResourceType::ALL.len()],
    pub responses: AtomicU64,
    pub resources: AtomicU64,
    /// It has everything that it has asked for.
    pub complete: AtomicBool,
    /// Microseconds between the epoch and the last receipt.
    pub last: AtomicU64,
    /// What it holds.
    pub held: Mutex<Held>,
}

impl Counters {
    /// The bytes received of one type.
    pub fn bytes(&self, kind: ResourceType) -> &AtomicU64 {
        let [clusters, endpoints, listeners, routes, virtual_hosts, secrets, proxy_config] = &self.bytes;
        match kind {
            ResourceType::Cluster => clusters,
            ResourceType::Endpoint => endpoints,
            ResourceType::Listener => listeners,
            ResourceType::Route => routes,
            ResourceType::VirtualHost => virtual_hosts,
            ResourceType::Secret => secrets,
            ResourceType::ProxyConfig => proxy_config,
        }
    }
}

/// The state of one connection.
struct Proxy {
    number: usize,
    shared: Arc<Shared>,
    sender: Sender,
    /// The names that were asked for, and whether they were answered.
    asked: BTreeMap<ResourceType, FxHashSet<Arc<str>>>,
    missing: BTreeMap<ResourceType, FxHashSet<Arc<str>>>,
    /// The types that were asked for and never answered.
    silent: Vec<ResourceType>,
    clusters: FxHashSet<Arc<str>>,
}

/// Opens the stream and serves it until it ends; `opening` is held until it is open.
pub async fn run(shared: Arc<Shared>, number: usize, opening: OwnedSemaphorePermit) -> anyhow::Result<()> {
    let method = match shared.flags.protocol {
        Variant::Delta => "DeltaAggregatedResources",
        Variant::Sotw => "StreamAggregatedResources",
    };
    let opened = open(&shared, number, method).await;
    if opened.is_err() {
        shared.failed.fetch_add(1, Ordering::Relaxed);
    }
    let (sender, mut receiver) = opened?;
    let mut proxy = Proxy {
        number,
        shared,
        sender,
        asked: BTreeMap::new(),
        missing: BTreeMap::new(),
        silent: Vec::new(),
        clusters: FxHashSet::default(),
    };
    proxy.start();
    drop(opening);
    let end = proxy.receive(&mut receiver).await;
    proxy.shared.failed.fetch_add(1, Ordering::Relaxed);
    end
}

async fn open(shared: &Shared, number: usize, method: &str) -> anyhow::Result<(Sender, Receiver)> {
    let connector = shared.identities.as_ref().map(|identities| identities.connector(&namespace(number, &shared.flags))).transpose()?;
    frames::open(&shared.flags.ads, method, connector.as_ref()).await
}

impl Proxy {
    fn start(&mut self) {
        let held = std::mem::take(&mut *self.counters().held.lock().unwrap_or_else(PoisonError::into_inner));
        let mut node = Some(node(self.number, &self.shared.flags));
        let returning = !held.is_empty();
        for kind in [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener, ResourceType::Route] {
            if !kind.is_wildcard() && !returning {
                continue;
            }
            let held = held.get(&kind).cloned().unwrap_or_default();
            let names: Vec<Arc<str>> = if kind.is_wildcard() { Vec::new() } else { held.keys().cloned().collect() };
            self.silent.push(kind);
            if kind == ResourceType::Cluster {
                self.clusters.extend(held.keys().cloned());
            }
            self.asked.entry(kind).or_default().extend(names.iter().cloned());
            let versions = held.iter().map(|(name, version)| (name.to_string(), version.to_string())).collect();
            self.request(kind, &names, versions, node.take());
            self.counters().held.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, held);
        }
    }

    async fn receive(&mut self, receiver: &mut Receiver) -> anyhow::Result<()> {
        while let Some(message) = receiver.next().await? {
            let now = Instant::now();
            self.response(&message, now);
        }
        anyhow::bail!("the server has ended the stream")
    }

    fn counters(&self) -> &Counters {
        static NONE: std::sync::LazyLock<Counters> = std::sync::LazyLock::new(Counters::default);
        self.shared.streams.get(self.number).unwrap_or(&NONE)
    }

    /// Both responses have `resources = 2`, `type_url = 4` and `nonce = 5`; delta has `removed_resources = 6`, and
    /// state-of-the-world `version_info = 1`.
    fn response(&mut self, message: &Bytes, now: Instant) {
        let Some(kind) = ResourceType::from_url(text_of(message, 4)) else { return };
        self.acknowledge(kind, message);
        let counters = self.counters();
        counters.bytes(kind).fetch_add(message.len() as u64 + 5, Ordering::Relaxed);
        counters.responses.fetch_add(1, Ordering::Relaxed);
        let target = self.shared.target.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.silent.retain(|silent| *silent != kind);
        let mut next: Vec<Arc<str>> = Vec::new();
        let mut received = 0;
        walk(message, |number, value| match (number, value) {
            (2, Value::Bytes(chunk)) => {
                received += 1;
                self.resource(kind, chunk, target.as_deref(), now, &mut next);
            }
            (6, Value::Bytes(name)) if self.shared.flags.protocol == Variant::Delta => {
                self.removed(kind, std::str::from_utf8(name).unwrap_or_default());
            }
            _ => {}
        });
        self.counters().resources.fetch_add(received, Ordering::Relaxed);
        if let Some(kind) = follows(kind).filter(|_| !next.is_empty()) {
            self.subscribe(kind, next);
        }
        self.settle(now);
    }

    fn resource(&mut self, kind: ResourceType, chunk: &[u8], target: Option<&Target>, now: Instant, next: &mut Vec<Arc<str>>) {
        let (name, version, body) = match self.shared.flags.protocol {
            Variant::Delta => {
                (text_of(chunk, 3), text_of(chunk, 1), bytes_of(chunk, 2).and_then(|any| bytes_of(any, 2)).unwrap_or_default())
            }
            // Field 1 is the name in clusters, listeners' too, endpoints and routes.
            Variant::Sotw => bytes_of(chunk, 2).map_or(("", "", [].as_slice()), |body| (text_of(body, 1), "", body)),
        };
        if let Some(target) = target {
            target.received(self.number, kind, name, chunk.len(), now);
        }
        if let Some(missing) = self.missing.get_mut(&kind) {
            missing.remove(name);
        }
        if kind == ResourceType::Cluster {
            self.clusters.insert(Arc::from(name));
        }
        if self.shared.flags.reconnect {
            let mut held = self.counters().held.lock().unwrap_or_else(PoisonError::into_inner);
            held.entry(kind).or_default().insert(Arc::from(name), Arc::from(version));
        }
        if let Some(follows) = follows(kind) {
            for name in wanted(kind, body).iter() {
                if self.asked.entry(follows).or_default().insert(name.clone()) {
                    next.push(name.clone());
                }
            }
        }
    }

    fn removed(&mut self, kind: ResourceType, name: &str) {
        if let Some(missing) = self.missing.get_mut(&kind) {
            missing.remove(name);
        }
        if kind == ResourceType::Cluster {
            self.clusters.remove(name);
        }
        if let Some(held) = self.counters().held.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&kind) {
            held.remove(name);
        }
    }

    fn subscribe(&mut self, kind: ResourceType, names: Vec<Arc<str>>) {
        self.missing.entry(kind).or_default().extend(names.iter().cloned());
        self.request(kind, &names, BTreeMap::new(), None);
    }

    /// Notes whether everything is there.
    fn settle(&self, now: Instant) {
        let counters = self.counters();
        counters.last.store(now.duration_since(self.shared.epoch).as_micros() as u64, Ordering::Relaxed);
        let answered = self.silent.is_empty() && self.missing.values().all(FxHashSet::is_empty);
        counters.complete.store(answered && self.clusters.len() >= self.shared.flags.services, Ordering::Relaxed);
    }

    fn acknowledge(&self, kind: ResourceType, message: &[u8]) {
        let nonce = text_of(message, 5).to_owned();
        match self.shared.flags.protocol {
            Variant::Delta => {
                let request = DeltaDiscoveryRequest { type_url: kind.url().to_owned(), response_nonce: nonce, ..Default::default() };
                self.sender.send(&request.to_bytes());
            }
            Variant::Sotw => {
                let request = DiscoveryRequest {
                    type_url: kind.url().to_owned(),
                    response_nonce: nonce,
                    version_info: text_of(message, 1).to_owned(),
                    resource_names: self.all_names(kind),
                    ..Default::default()
                };
                self.sender.send(&request.to_bytes());
            }
        }
    }

    /// Subscribes to names beside those before.
    fn request(&self, kind: ResourceType, names: &[Arc<str>], versions: BTreeMap<String, String>, node: Option<Node>) {
        match self.shared.flags.protocol {
            Variant::Delta => {
                let request = DeltaDiscoveryRequest {
                    node,
                    type_url: kind.url().to_owned(),
                    resource_names_subscribe: names.iter().map(|name| name.to_string()).collect(),
                    initial_resource_versions: versions,
                    ..Default::default()
                };
                self.sender.send(&request.to_bytes());
            }
            Variant::Sotw => {
                let request =
                    DiscoveryRequest { node, type_url: kind.url().to_owned(), resource_names: self.all_names(kind), ..Default::default() };
                self.sender.send(&request.to_bytes());
            }
        }
    }

    fn all_names(&self, kind: ResourceType) -> Vec<String> {
        self.asked.get(&kind).into_iter().flatten().map(|name| name.to_string()).collect()
    }
}

/// The node of a sidecar in one of the namespaces.
fn node(number: usize, flags: &Flags) -> Node {
    let (namespace, address) = (namespace(number, flags), format!("10.200.{}.{}", number / 250, number % 250 + 1));
    let text = |value: &str| xds_api::google::protobuf::Value { kind: Some(Kind::StringValue(value.to_owned())) };
    let labels = Struct { fields: [("app".to_owned(), text("client"))].into() };
    let mut fields = BTreeMap::from([
        ("NAME".to_owned(), text(&format!("pod-{number}"))),
        ("NAMESPACE".to_owned(), text(&namespace)),
        ("CLUSTER_ID".to_owned(), text("Kubernetes")),
        ("INSTANCE_IPS".to_owned(), text(&address)),
        ("SERVICE_ACCOUNT".to_owned(), text("default")),
        ("INTERCEPTION_MODE".to_owned(), text("REDIRECT")),
        ("MESH_ID".to_owned(), text("cluster.local")),
        ("LABELS".to_owned(), xds_api::google::protobuf::Value { kind: Some(Kind::StructValue(labels)) }),
    ]);
    if !flags.istio_version.is_empty() {
        fields.insert("ISTIO_VERSION".to_owned(), text(&flags.istio_version));
    }
    Node {
        id: format!("sidecar~{address}~pod-{number}.{namespace}~{namespace}.svc.cluster.local"),
        cluster: format!("client.{namespace}"),
        metadata: Some(Struct { fields }),
        ..Node::default()
    }
}
