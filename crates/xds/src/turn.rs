//! One turn: a batch of inputs in, the views that changed out. The stages stand in [`State::turn`], top to bottom.

use crate::class::{self, Class, ClassKey};
use crate::delta::Delta;
use crate::generate::Generator;
use crate::held::Disputed;
use base::DomainSuffix;
use config::{Event, Features, Store};
use model::{Model, ProxyTraits, Snapshot};
use registry::{Registry, RegistryChanges, Resolution};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use xds_wire::{ResourceName, ResourceType, Version, View};

/// A connection of a proxy. Two connections of one proxy are two.
pub type ProxyId = u64;

/// What enters a turn.
#[derive(Clone, Debug)]
pub enum Input {
    /// A source has seen something.
    Event(Event),
    /// A proxy has connected.
    Connected(ProxyId, Box<ProxyTraits>),
    /// It is gone.
    Disconnected(ProxyId),
    /// The proxy with this node id has refused contents, each by itself or by its name.
    Refused(Arc<str>, ResourceType, Vec<(ResourceName, Version)>),
    /// Some proxy has accepted a content that is held back.
    Accepted(ResourceType, Version),
}

/// What leaves a turn.
#[derive(Default)]
pub struct Publication {
    /// The turn's number.
    pub revision: u64,
    /// The new view of every proxy whose class changed, and of those that have connected.
    pub views: Vec<(ProxyId, Arc<View>)>,
}

/// Counters of the work done; each only grows.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Turns taken.
    pub turns: u64,
    /// Turns that touched endpoints only.
    pub endpoint_turns: u64,
    /// Classes generated as a whole.
    pub classes_generated: u64,
    /// Rows built, by sort: clusters of a service, endpoints of a cluster, route configurations, listeners.
    pub cluster_rows: u64,
    /// See `cluster_rows`.
    pub endpoint_rows: u64,
    /// Virtual hosts: one that several classes or route configurations have counts once.
    pub virtual_host_rows: u64,
    /// See `cluster_rows`.
    pub route_rows: u64,
    /// See `cluster_rows`.
    pub listener_rows: u64,
}

/// Everything between the channel and the views.
pub struct State {
    store: Store,
    registry: Registry,
    model: Model,
    generator: Generator,
    proxies: BTreeMap<ProxyId, (Arc<ProxyTraits>, ClassKey)>,
    classes: BTreeMap<ClassKey, Class>,
    disputed: Disputed,
    revision: u64,
    statistics: Statistics,
}

/// Classes without proxies that are kept for what was refused there; peers must not make us remember without bound.
const MAX_REMEMBERED_CLASSES: usize = 256;

impl State {
    /// An empty state for a cluster with this DNS suffix, with Istio's defaults for everything that the environment sets.
    pub fn new(domain: DomainSuffix) -> Self {
        Self::with_features(domain, Features::default())
    }

    /// The same with what the process was started with.
    pub fn with_features(domain: DomainSuffix, features: Features) -> Self {
        Self {
            store: Store { features: Arc::new(features), ..Store::default() },
            registry: Registry::new(domain),
            model: Model::default(),
            generator: Generator::default(),
            proxies: BTreeMap::new(),
            classes: BTreeMap::new(),
            disputed: Disputed::default(),
            revision: 0,
            statistics: Statistics::default(),
        }
    }

    /// The rows of all objects.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        self.model.snapshot()
    }

    /// The services and their endpoints.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The classes with their views.
    pub fn classes(&self) -> &BTreeMap<ClassKey, Class> {
        &self.classes
    }

    /// The work done so far.
    pub fn statistics(&self) -> Statistics {
        self.generator.count(self.statistics)
    }

    /// What a class would be served if nothing had been kept from earlier turns: the oracle of [`State::turn`], for tests.
    pub fn from_scratch(&self, key: &ClassKey) -> Arc<View> {
        let mut class = Class::default();
        Generator::default().class(self.model.snapshot(), key, &mut class, &Delta::everything(), self.revision);
        class.view
    }

    /// Takes one turn. Its cost is stated at each stage.
    pub fn turn(&mut self, batch: Vec<Input>) -> Publication {
        self.revision += 1;
        self.statistics.turns += 1;
        let Sorted { events, connected, disconnected, refused, accepted } = sort(batch);
        // Objects: the batch.
        let changes = self.store.apply(events);
        // Services and endpoints: those that the batch touches.
        let services = self.registry.advance(&self.store, &changes);
        // Rules and indexes: the kinds that the batch touches.
        let before = self.snapshot().clone();
        self.model.advance(&self.store, &changes, &self.registry, &services);
        // What differs: that, and a pointer for each rule where any differs.
        let delta = Delta::between(&before, self.snapshot());
        // Proxies into classes: those that come, go, or serve other services than before; all if that may depend on more.
        let moved = self.assign(connected, disconnected, &services, &delta);
        // Resources: of the touched services if only endpoints changed, else what the difference reaches in each class.
        let generated = match self.reach(&delta, &services) {
            Reach::Nothing => BTreeSet::new(),
            Reach::Endpoints => self.generate_endpoints(&services),
            Reach::Everything => self.generate_all(&delta),
        };
        self.generate_new();
        // Refused contents: the classes of those who refuse.
        let held = self.hold(&refused, &accepted);
        self.publish(&moved, &(&generated | &held))
    }

    /// Holds back what was refused and gives up what is disputed; the classes in which that changes anything.
    fn hold(&mut self, refused: &[Refusal], accepted: &[(ResourceType, Version)]) -> BTreeSet<ClassKey> {
        let mut changed = BTreeSet::new();
        accepted.iter().for_each(|(kind, version)| self.disputed.accept(*kind, *version));
        for (key, class) in self.classes.iter_mut().filter(|_| !accepted.is_empty()) {
            if self.disputed.release(class, self.revision) {
                changed.insert(key.clone());
            }
        }
        for (proxy, kind, resources) in refused {
            let keys: BTreeSet<ClassKey> =
                self.proxies.values().filter(|(traits, _)| traits.id == *proxy).map(|(_, key)| key.clone()).collect();
            for key in keys {
                if self.classes.get_mut(&key).is_some_and(|class| self.disputed.refuse(class, self.revision, *kind, resources)) {
                    changed.insert(key);
                }
            }
        }
        changed
    }

    /// Puts proxies into classes, and says which are in a class that they were not in before.
    fn assign(
        &mut self,
        connected: Vec<(ProxyId, ProxyTraits)>,
        disconnected: Vec<ProxyId>,
        services: &RegistryChanges,
        delta: &Delta,
    ) -> BTreeSet<ProxyId> {
        let mut moved = BTreeSet::new();
        for id in disconnected {
            self.proxies.remove(&id);
        }
        let all = delta.settings || delta.policies || delta.services;
        if all || !services.targets.is_empty() {
            for (id, (traits, key)) in &mut self.proxies {
                let touched = traits.addresses.iter().any(|address| services.targets.contains(address));
                if all || touched {
                    let now = class::key_of(traits, self.model.snapshot(), &self.registry);
                    if now != *key {
                        *key = now;
                        moved.insert(*id);
                    }
                }
            }
        }
        for (id, traits) in connected {
            let key = class::key_of(&traits, self.model.snapshot(), &self.registry);
            self.proxies.insert(id, (Arc::new(traits), key));
            moved.insert(id);
        }
        let live: BTreeSet<&ClassKey> = self.proxies.values().map(|(_, key)| key).collect();
        // What was refused is remembered for the proxy that is started in place of the one that has gone.
        let mut remembered = 0;
        self.classes.retain(|key, class| {
            let held = !class.view.holds().is_empty() && remembered < MAX_REMEMBERED_CLASSES;
            live.contains(key) || {
                remembered += usize::from(held);
                held
            }
        });
        moved
    }

    /// How far the changes reach.
    fn reach(&self, delta: &Delta, services: &RegistryChanges) -> Reach {
        if delta.is_empty() {
            Reach::Nothing
        } else if delta.only_endpoints && services.endpoints.0.iter().all(|key| self.endpoints_stand_alone(key)) {
            Reach::Endpoints
        } else {
            Reach::Everything
        }
    }

    /// Whether the endpoints of a service reach nothing but its ClusterLoadAssignments: DNS clusters carry theirs within
    /// the cluster, headless services have a listener for each, and the service accounts of endpoints are the names that
    /// clusters check.
    fn endpoints_stand_alone(&self, key: &registry::ServiceKey) -> bool {
        let cx = &mut incremental::Cx::default();
        let snapshot = self.snapshot();
        let Some(service) = snapshot.services.get(cx, key) else { return true };
        // Those of a workload whose proxy knows its zones are a resource of that proxy's own.
        let discovers = |class: &ClassKey| class.own_workload.is_some() && class.targets.iter().any(|target| target.service == *key);
        service.resolution == Resolution::Static
            && !self.classes.keys().any(discovers)
            && self.generator.same_identities(key, snapshot.endpoints_of(key))
    }

    fn generate_endpoints(&mut self, services: &RegistryChanges) -> BTreeSet<ClassKey> {
        self.statistics.endpoint_turns += 1;
        let mut changed = BTreeSet::new();
        self.generator.endpoints(self.model.snapshot(), &services.endpoints.0);
        for (key, class) in &mut self.classes {
            if self.generator.refresh_endpoints(key, class, self.revision) {
                changed.insert(key.clone());
            }
        }
        changed
    }

    fn generate_all(&mut self, delta: &Delta) -> BTreeSet<ClassKey> {
        self.generator.begin();
        let mut changed = BTreeSet::new();
        for (key, class) in &mut self.classes {
            self.statistics.classes_generated += 1;
            if self.generator.class(self.model.snapshot(), key, class, delta, self.revision) {
                changed.insert(key.clone());
            }
        }
        self.generator.sweep(self.classes.keys());
        changed
    }

    /// Generates the classes that have proxies but no view yet.
    fn generate_new(&mut self) {
        let missing: BTreeSet<ClassKey> =
            self.proxies.values().map(|(_, key)| key).filter(|key| !self.classes.contains_key(*key)).cloned().collect();
        let any = !missing.is_empty();
        for key in missing {
            self.statistics.classes_generated += 1;
            let mut class = Class::default();
            self.generator.class(self.model.snapshot(), &key, &mut class, &Delta::default(), self.revision);
            self.classes.insert(key, class);
        }
        if any {
            self.generator.sweep(self.classes.keys());
        }
    }

    fn publish(&mut self, moved: &BTreeSet<ProxyId>, generated: &BTreeSet<ClassKey>) -> Publication {
        let views = self.proxies.iter().filter(|(id, (_, key))| moved.contains(id) || generated.contains(key));
        let views = views.filter_map(|(id, (_, key))| Some((*id, self.classes.get(key)?.view.clone()))).collect();
        Publication { revision: self.revision, views }
    }
}

/// How far a turn reaches.
enum Reach {
    Nothing,
    Endpoints,
    Everything,
}

type Refusal = (Arc<str>, ResourceType, Vec<(ResourceName, Version)>);

/// A batch by what it is about.
#[derive(Default)]
struct Sorted {
    events: Vec<Event>,
    connected: Vec<(ProxyId, ProxyTraits)>,
    disconnected: Vec<ProxyId>,
    refused: Vec<Refusal>,
    accepted: Vec<(ResourceType, Version)>,
}

fn sort(batch: Vec<Input>) -> Sorted {
    let mut out = Sorted::default();
    for input in batch {
        match input {
            Input::Event(event) => out.events.push(event),
            Input::Connected(id, traits) => out.connected.push((id, *traits)),
            Input::Disconnected(id) => {
                out.connected.retain(|(other, _)| *other != id);
                out.disconnected.push(id);
            }
            Input::Refused(proxy, kind, resources) => out.refused.push((proxy, kind, resources)),
            Input::Accepted(kind, version) => out.accepted.push((kind, version)),
        }
    }
    out
}
