//! Drives the rotation: hands it files, mesh configuration and connected proxies, and its results to the pipeline.

use super::roots;
use crate::pipeline::{Published, Trust};
use ads::{ConnectionStatus, Connections};
use base::SpiffeIdentity;
use ca::{
    Authority, Bundle, ConnectedProxy, Generation, Holders, KeyMaterial, Metrics, Order, Phase, PluggedIn, RootStore, Rotation,
    RotationSettings, Status, TrustDomains, api::ProxyConfig,
};
use model::Certificates;
use prost::Message;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};
use xds_wire::{Encoded, ResourceType, Resources};

/// Between two looks. Plugged-in files may be links of a mounted Secret, which no watch follows reliably.
const PACE: Duration = Duration::from_secs(1);

/// How often a rotation that does not go on says why.
const REMINDER: Duration = Duration::from_secs(60);

/// An order, and where its outcome is expected.
type Ordered = (Order, oneshot::Sender<Result<(), String>>);

/// The rotation, as pages see it.
#[derive(Clone)]
pub struct RotationHandle {
    status: watch::Receiver<Option<Status>>,
    orders: mpsc::Sender<Ordered>,
}

impl RotationHandle {
    /// Where it stands; `None` before the mesh configuration is known.
    pub fn status(&self) -> Option<Status> {
        self.status.borrow().clone()
    }

    /// Gives an order, and waits for what becomes of it.
    pub async fn order(&self, order: Order) -> Result<(), String> {
        let (reply, outcome) = oneshot::channel();
        let gone = "the rotation is not driven any more";
        self.orders.send((order, reply)).await.map_err(|_| gone.to_owned())?;
        outcome.await.map_err(|_| gone.to_owned())?
    }
}

/// Everything that a rotation depends on.
pub struct Driver {
    /// Signs.
    pub authority: Arc<Authority>,
    /// Keeps the state.
    pub store: Option<Arc<dyn RootStore>>,
    /// How it goes on.
    pub settings: RotationSettings,
    /// What the process has started with.
    pub material: KeyMaterial,
    /// Files that may ask for another generation.
    pub plugged_in: PluggedIn,
    /// Who was given which certificate.
    pub holders: Arc<Holders>,
    /// Who is connected.
    pub connections: Connections,
    /// The mesh configuration, and what the pipeline has taken over.
    pub readable: watch::Receiver<Arc<Published>>,
    /// Where the pipeline takes it from.
    pub trust: watch::Sender<Arc<Trust>>,
    /// What is counted.
    pub metrics: Metrics,
}

/// What the pipeline is told before the mesh configuration is known.
pub fn first_trust(authority: &Authority) -> Arc<Trust> {
    Arc::new(trust(&authority.signer().bundle, None, Vec::new()))
}

impl Driver {
    /// Starts the task.
    pub fn start(self) -> RotationHandle {
        let (status, status_in) = watch::channel(None);
        let (orders, orders_in) = mpsc::channel(1);
        tokio::spawn(self.run(status, orders_in));
        RotationHandle { status: status_in, orders }
    }

    async fn run(mut self, status: watch::Sender<Option<Status>>, mut orders: mpsc::Receiver<Ordered>) {
        let Some(mut rotation) = self.begin().await else { return };
        let mut told = Told::default();
        loop {
            let wanted = self.wanted(&rotation, &mut told);
            let aliases = self.stated().aliases;
            let now = SystemTime::now();
            if let Err(error) = rotation.tick(wanted.as_ref(), &aliases, || self.proxies(), now).await {
                told.fault(error.to_string());
            }
            self.renew_old_root(&mut rotation, wanted.is_some(), &mut told).await;
            self.publish(&rotation, &status, &mut told);
            tokio::select! {
                () = sleep(PACE) => {}
                ordered = orders.recv() => if let Some((order, reply)) = ordered {
                    let outcome = rotation.order(order, SystemTime::now()).await.map_err(|error| error.to_string());
                    tracing::info!(?order, ?outcome, "an operator has given an order to the rotation");
                    // Whoever asked may be gone.
                    drop(reply.send(outcome));
                },
            }
        }
    }

    /// Waits for the mesh configuration, then goes on from the store.
    async fn begin(&mut self) -> Option<Rotation> {
        self.readable.wait_for(|published| published.synced).await.ok()?;
        let mut told = Told::default();
        loop {
            let generation = Generation { material: self.material.clone(), trust_domain: self.stated().own };
            let (authority, store, settings) = (self.authority.clone(), self.store.clone(), self.settings.clone());
            match Rotation::start(authority, store, settings, generation, SystemTime::now()).await {
                Ok(rotation) => return Some(rotation),
                Err(error) => told.fault(error.to_string()),
            }
            sleep(PACE).await;
        }
    }

    /// What the mesh configuration says, without what a rotation adds.
    fn stated(&self) -> TrustDomains {
        let published = self.readable.borrow();
        TrustDomains { own: published.mesh.trust_domain.clone(), aliases: published.mesh.trust_domain_aliases.clone() }
    }

    /// The generation that files and mesh configuration ask for.
    fn wanted(&self, rotation: &Rotation, told: &mut Told) -> Option<Generation> {
        let material = match self.plugged_in.load() {
            Ok(Some(material)) => material,
            Ok(None) => rotation.target().material.clone(),
            Err(error) => {
                told.fault(error.to_string());
                return None;
            }
        };
        Some(Generation { material, trust_domain: self.stated().own })
    }

    /// A self-signed root that is nearly over is replaced without being asked.
    async fn renew_old_root(&self, rotation: &mut Rotation, readable: bool, told: &mut Told) {
        let now = SystemTime::now();
        let plugged_in = !readable || self.plugged_in.load().is_ok_and(|material| material.is_some());
        let old = self.authority.signer().in_grace(self.authority.settings().grace_percent, now);
        if plugged_in || !old || rotation.phase() != Phase::Settled {
            return;
        }
        if let Err(error) = rotation.order(Order::NewRoot, now).await {
            told.fault(error.to_string());
        }
    }

    fn publish(&self, rotation: &Rotation, status: &watch::Sender<Option<Status>>, told: &mut Told) {
        let newest = rotation.status();
        self.metrics.rotation_phase.set(match newest.phase {
            Phase::Settled => 0,
            Phase::Distributing => 1,
            Phase::Signing => 2,
        });
        self.metrics.rotation_waiting.set(i64::try_from(newest.waiting_for.len()).unwrap_or(i64::MAX));
        told.waiting(&newest);
        let (others, faults) = roots::of_mesh(&self.readable.borrow().mesh);
        faults.into_iter().for_each(|fault| told.fault(fault));
        let next = trust(&self.authority.signer().bundle, others.as_ref(), newest.accepted_trust_domains.clone());
        self.trust.send_if_modified(|current| {
            let changed = current.bundle != next.bundle || current.domains != next.domains;
            if changed {
                *current = Arc::new(next);
            }
            changed
        });
        status.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&newest);
            if changed {
                *current = Some(newest);
            }
            changed
        });
    }

    /// The connected proxies that have certificates of ours.
    fn proxies(&self) -> Vec<ConnectedProxy> {
        let current = self.trust.borrow().clone();
        // What the pipeline has not taken over yet cannot have been accepted.
        let taken_over = Arc::ptr_eq(&self.readable.borrow().trust, &current);
        self.connections.list().iter().filter_map(|connection| self.proxy(connection, taken_over)).collect()
    }

    fn proxy(&self, connection: &ConnectionStatus, taken_over: bool) -> Option<ConnectedProxy> {
        let traits = xds::parse_node(&connection.node).ok()?;
        if traits.certificates != Certificates::Sds {
            return None;
        }
        let identity = connection.peer.identity.clone().unwrap_or_else(|| SpiffeIdentity {
            trust_domain: String::new(),
            namespace: traits.namespace.as_str().to_owned(),
            service_account: traits.service_account.to_string(),
        });
        // A proxy that refuses other things has its roots nevertheless.
        let follows = connection.types.iter().find(|of| of.kind == ResourceType::ProxyConfig).map(|of| taken_over && of.settled);
        Some(ConnectedProxy {
            node: connection.node.id.clone(),
            told: follows == Some(true),
            telling: follows == Some(false),
            settled: taken_over && connection.settled,
            holder: self.holders.of(&connection.node.id, connection.peer.address.ip(), &identity),
        })
    }
}

/// What goes to the pipeline, and by PCDS to agents: the roots of the CA, and those that the mesh configuration names.
fn trust(own: &Bundle, others: Option<&Bundle>, domains: Vec<String>) -> Trust {
    // Both were parsed before, so that they go together.
    let bundle = others.and_then(|others| own.with(others).ok()).unwrap_or_else(|| own.clone());
    let content = ProxyConfig { ca_certificates_pem: bundle.roots.iter().map(ca::pem::encode_certificate).collect() };
    let mut roots = Resources::default();
    roots.insert(Arc::new(Encoded::new(ResourceType::ProxyConfig, "roots".into(), &content.encode_to_vec(), Arc::from([]))));
    Trust { bundle: bundle.hash, roots, domains }
}

/// What has been said, so that it is not said every second.
#[derive(Default)]
struct Told {
    fault: String,
    waiting: Option<Instant>,
}

impl Told {
    fn fault(&mut self, error: String) {
        if error != self.fault {
            tracing::error!("the CA stays as it is: {error}");
            self.fault = error;
        }
    }

    /// Names some of those that a rotation waits for.
    fn waiting(&mut self, status: &Status) {
        if status.waiting_for.is_empty() {
            self.waiting = None;
            return;
        }
        if self.waiting.is_some_and(|at| at.elapsed() < REMINDER) {
            return;
        }
        self.waiting = Some(Instant::now());
        let first: Vec<String> =
            status.waiting_for.iter().take(5).map(|hold_up| format!("{}: {}", hold_up.proxy, hold_up.reason)).collect();
        tracing::warn!(phase = ?status.phase, proxies = status.waiting_for.len(), ?first, "the rotation waits; /debug/ca lists all");
    }
}
