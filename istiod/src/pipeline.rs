//! The task that owns the state: it waits for inputs, takes one turn with all that have come, and tells the proxies.

use base::ClusterId;
use config::{Change, Event, Store};
use istio_api::mesh::MeshConfig;
use model::{ProxyTraits, Snapshot};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{mpsc, oneshot, watch};
use xds::{ClassKey, Input, ProxyId, State, Statistics};
use xds_wire::{ResourceName, ResourceType, Resources, Version, View};

/// What a connection says to the pipeline.
pub enum ProxyEvent {
    /// Serve this proxy; the answer comes with its first view.
    Connected {
        /// The connection.
        id: ProxyId,
        /// What the proxy said of itself.
        traits: Box<ProxyTraits>,
        /// Where its views are expected.
        reply: oneshot::Sender<watch::Receiver<Arc<View>>>,
    },
    /// The connection is gone.
    Disconnected(ProxyId),
    /// The proxy with this node id has refused these contents.
    Refused(Arc<str>, ResourceType, Vec<(ResourceName, Version)>),
    /// Some proxy has accepted a content that another has refused.
    Accepted(ResourceType, Version),
}

/// What others may look at: one consistent cut after a turn.
#[derive(Clone, Default)]
pub struct Published {
    /// The objects.
    pub store: Store,
    /// What they mean.
    pub snapshot: Snapshot,
    /// Which classes of proxies there are, for those who ask what is to be said of them.
    pub classes: Arc<Vec<ClassKey>>,
    /// The work done so far.
    pub statistics: Statistics,
    /// How many rows stand in overlays of classes.
    pub overlay_rows: usize,
    /// Whether every source has sent what existed when it started.
    pub synced: bool,
    /// The mesh configuration as it was stated, without what a rotation of the CA adds.
    pub mesh: Arc<MeshConfig>,
    /// What of the CA is served.
    pub trust: Arc<Trust>,
}

/// What the CA adds to everything that is served.
#[derive(Default)]
pub struct Trust {
    /// Names the roots.
    pub bundle: String,
    /// The roots, for PCDS.
    pub roots: Resources,
    /// Trust domains that proxies accept beside those of the mesh configuration.
    pub domains: Vec<String>,
}

/// The state with its two ends.
pub struct Pipeline {
    state: State,
    events: mpsc::Receiver<Vec<Event>>,
    proxies: mpsc::UnboundedReceiver<ProxyEvent>,
    views: BTreeMap<ProxyId, watch::Sender<Arc<View>>>,
    waiting: Vec<(ProxyId, oneshot::Sender<watch::Receiver<Arc<View>>>)>,
    unsynced: usize,
    published: watch::Sender<Arc<Published>>,
    classes: Arc<Vec<ClassKey>>,
    trust: watch::Receiver<Arc<Trust>>,
    /// What is served of it.
    trusted: Arc<Trust>,
    /// The mesh configuration as it was stated.
    mesh: Event,
}

impl Pipeline {
    /// A pipeline that serves nothing before `sources` sources have synced.
    pub fn new(
        state: State,
        events: mpsc::Receiver<Vec<Event>>,
        proxies: mpsc::UnboundedReceiver<ProxyEvent>,
        sources: usize,
        published: watch::Sender<Arc<Published>>,
        mut trust: watch::Receiver<Arc<Trust>>,
    ) -> Self {
        let trusted = trust.borrow_and_update().clone();
        let mesh = Event { cluster: ClusterId::new(""), change: Change::Mesh(state.store().mesh.clone()) };
        Self {
            state,
            events,
            proxies,
            views: BTreeMap::new(),
            waiting: Vec::new(),
            unsynced: sources,
            published,
            classes: Arc::default(),
            trust,
            trusted,
            mesh,
        }
    }

    /// Takes turns until both ends are gone.
    pub async fn run(mut self) {
        self.publish();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                events = self.events.recv() => match events {
                    Some(events) => self.take_events(events, &mut batch),
                    None => return,
                },
                Ok(()) = self.trust.changed() => self.take_trust(&mut batch),
                // Held back until there is something to serve: an empty answer would take everything away.
                event = self.proxies.recv(), if self.unsynced == 0 => match event {
                    Some(event) => self.take_proxy(event, &mut batch),
                    None => return,
                },
            }
            // Whatever else has come meanwhile belongs to the same turn: a storm of changes costs few of them.
            while let Ok(events) = self.events.try_recv() {
                self.take_events(events, &mut batch);
            }
            while self.unsynced == 0
                && let Ok(event) = self.proxies.try_recv()
            {
                self.take_proxy(event, &mut batch);
            }
            self.turn(batch);
        }
    }

    fn take_events(&mut self, events: Vec<Event>, batch: &mut Vec<Input>) {
        for event in events {
            match &event.change {
                Change::Synced => self.unsynced = self.unsynced.saturating_sub(1),
                Change::Mesh(_) => {
                    self.mesh = event;
                    batch.push(Input::Event(self.accepting()));
                    continue;
                }
                _ => {}
            }
            batch.push(Input::Event(event));
        }
    }

    /// The CA has other roots, or accepts other trust domains.
    fn take_trust(&mut self, batch: &mut Vec<Input>) {
        let trust = self.trust.borrow_and_update().clone();
        if trust.domains != self.trusted.domains {
            self.trusted = trust.clone();
            batch.push(Input::Event(self.accepting()));
        }
        self.trusted = trust;
        for view in self.views.values() {
            view.send_modify(|view| *view = with_roots(view, &self.trusted));
        }
    }

    /// The mesh configuration with the trust domains that the CA accepts as aliases.
    fn accepting(&self) -> Event {
        let Change::Mesh(stated) = &self.mesh.change else { return self.mesh.clone() };
        let known = |domain: &&String| **domain != stated.trust_domain && !stated.trust_domain_aliases.contains(domain);
        let more: Vec<String> = self.trusted.domains.iter().filter(known).cloned().collect();
        if more.is_empty() {
            return self.mesh.clone();
        }
        let mut mesh = (**stated).clone();
        mesh.trust_domain_aliases.extend(more);
        Event { cluster: self.mesh.cluster.clone(), change: Change::Mesh(Arc::new(mesh)) }
    }

    fn take_proxy(&mut self, event: ProxyEvent, batch: &mut Vec<Input>) {
        match event {
            ProxyEvent::Connected { id, traits, reply } => {
                self.waiting.push((id, reply));
                batch.push(Input::Connected(id, traits));
            }
            ProxyEvent::Disconnected(id) => {
                self.views.remove(&id);
                self.waiting.retain(|(waiting, _)| *waiting != id);
                batch.push(Input::Disconnected(id));
            }
            ProxyEvent::Refused(proxy, kind, resources) => batch.push(Input::Refused(proxy, kind, resources)),
            ProxyEvent::Accepted(kind, version) => batch.push(Input::Accepted(kind, version)),
        }
    }

    fn turn(&mut self, batch: Vec<Input>) {
        let publication = self.state.turn(batch);
        let mut replies: BTreeMap<ProxyId, _> = std::mem::take(&mut self.waiting).into_iter().collect();
        for (id, view) in publication.views {
            let view = with_roots(&view, &self.trusted);
            if let Some(sender) = self.views.get(&id) {
                sender.send_replace(view);
            } else if let Some(reply) = replies.remove(&id) {
                let (sender, receiver) = watch::channel(view);
                // A connection that is gone by now says so itself, by dropping its guard.
                if reply.send(receiver).is_ok() {
                    self.views.insert(id, sender);
                }
            }
        }
        self.publish();
    }

    /// Costs a comparison of the classes; what is wrong with anything is looked for when somebody asks.
    fn publish(&mut self) {
        let state = &self.state;
        if !self.classes.iter().eq(state.classes().keys()) {
            self.classes = Arc::new(state.classes().keys().cloned().collect());
        }
        self.published.send_replace(Arc::new(Published {
            store: state.store().clone(),
            snapshot: state.snapshot().clone(),
            classes: self.classes.clone(),
            statistics: state.statistics(),
            overlay_rows: overlay_rows(state),
            synced: self.unsynced == 0,
            mesh: match &self.mesh.change {
                Change::Mesh(mesh) => mesh.clone(),
                _ => state.store().mesh.clone(),
            },
            trust: self.trusted.clone(),
        }));
    }
}

/// The roots of the mesh are the same for all and depend on no object, so they come in here.
fn with_roots(view: &View, trust: &Trust) -> Arc<View> {
    let mut view = view.clone();
    view.set(ResourceType::ProxyConfig, trust.roots.clone());
    Arc::new(view)
}

fn overlay_rows(state: &State) -> usize {
    let views = state.classes().values().map(|class| &class.view);
    views.flat_map(|view| xds_wire::ResourceType::ALL.map(|kind| view.of(kind).overlay_rows())).sum()
}
