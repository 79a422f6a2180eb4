//! Starts everything that follows one cluster, and says when all of it has been sent once.

use crate::{
    crds::{self, Definitions, Served},
    mesh::Settings,
    metrics::Metrics,
    objects::{Objects, Pending, Shared},
    options::{MeshSettings, Options},
    scope,
    secrets::{self, Secrets, Wanted},
    tags::{self, Tags},
    watch::{self, Notice, Target, Version},
};
use base::Namespace;
use config::{Change, Event};
use istio_api::Kind;
use kube::Client;
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    sync::{mpsc, watch as state},
    task::{AbortHandle, JoinSet},
};

/// Kinds that are followed for a few objects only, each in its own way.
const FOLLOWED_APART: [Kind; 2] = [Kind::Secret, Kind::ConfigMap];
/// Batches of notices that wait for their decoder.
const WAITING: usize = 4;

/// Follows the cluster until `out` is closed. What exists is sent kind by kind, then [`Change::Synced`] once, then every
/// change as it comes. An API server that does not answer is waited for; nothing is withdrawn meanwhile.
pub async fn run(client: Client, options: Options, metrics: Metrics, out: mpsc::Sender<Vec<Event>>) {
    let (pending, mut unsynced) = mpsc::channel(1);
    let (naming, named) = mpsc::channel(1);
    let mut source = Source::start(client, options.clone(), metrics, out.clone(), &pending, named);
    let (definitions_out, mut definitions_in) = mpsc::channel(WAITING);
    source.follow(Target::new("CustomResourceDefinition", crds::GROUP, crds::VERSION, crds::PLURAL, None), definitions_out);
    let mut definitions = Definitions::default();
    let mut first = Some((pending, naming));
    let mut synced = false;
    let limit = tokio::time::sleep(options.sync_limit.unwrap_or(Duration::MAX));
    tokio::pin!(limit);
    loop {
        tokio::select! {
            Some(notices) = definitions_in.recv() => {
                if let Some(served) = definitions.take(notices) {
                    source.serve(&served, first.take());
                }
            }
            // Nothing is ever sent there: it ends with the last that has not been listed.
            _ = unsynced.recv(), if !synced => {
                synced = true;
                tracing::info!(cluster = %options.cluster, "the cluster has synced");
                source.say_synced().await;
            }
            () = &mut limit, if !synced && options.sync_limit.is_some() => {
                synced = true;
                tracing::warn!(cluster = %options.cluster, "the cluster has not synced in time; the mesh starts without it");
                source.say_synced().await;
            }
            () = out.closed() => return,
        }
    }
}

/// The tasks of one cluster, which end with it.
struct Source {
    client: Client,
    options: Options,
    shared: Shared,
    tasks: JoinSet<()>,
    /// Istio's kinds that are followed now.
    kinds: BTreeMap<Kind, Followed>,
}

/// A kind whose definition may change its version, or go.
struct Followed {
    version: Version,
    /// For each namespace, or for all of them at once.
    collections: Vec<(Option<Namespace>, mpsc::Sender<Vec<Notice>>, AbortHandle)>,
}

impl Source {
    fn start(
        client: Client,
        options: Options,
        metrics: Metrics,
        out: mpsc::Sender<Vec<Event>>,
        pending: &mpsc::Sender<()>,
        named: mpsc::Receiver<()>,
    ) -> Self {
        let (scope_out, scope) = state::channel(None);
        let namespaces = state::Sender::new(None);
        let shared = Shared { cluster: options.cluster.clone(), out, scope, namespaces, wanted: Wanted::new(), metrics };
        let mut source = Self { client, options, shared, tasks: JoinSet::new(), kinds: BTreeMap::new() };
        let selectors = source.settings(pending);
        let tags = source.tags(pending);
        let known = source.shared.namespaces.subscribe();
        source.tasks.spawn(scope::follow(source.options.clone(), selectors, known, tags, scope_out));
        for kind in Kind::ALL.iter().filter(|kind| crds::is_built_in(**kind) && !FOLLOWED_APART.contains(kind)) {
            source.follow_kind(*kind, "v1", &vec![pending.clone()]);
        }
        source.secrets(pending, named);
        let metrics = source.shared.metrics.clone();
        source.tasks.spawn(async move { metrics.alarm().await });
        source
    }

    async fn say_synced(&self) {
        let synced = Event { cluster: self.options.cluster.clone(), change: Change::Synced };
        // Nobody listens if the process is ending.
        drop(self.shared.out.send(vec![synced]).await);
    }

    /// Follows a collection; its notices go to `out`.
    fn follow(&mut self, target: Target, out: mpsc::Sender<Vec<Notice>>) -> AbortHandle {
        let health = self.shared.metrics.watch(&self.options.cluster, target.name);
        self.tasks.spawn(watch::follow(self.client.clone(), target, health, out))
    }

    /// The namespaces that a kind is followed in, each by itself; `None` for all at once.
    fn namespaces(&self, kind: Kind) -> Vec<Option<Namespace>> {
        if self.options.namespaces.is_empty() || !kind.namespaced() {
            return vec![None];
        }
        let mut all: Vec<Namespace> = self.options.namespaces.clone();
        all.push(self.options.root_namespace.clone());
        all.sort();
        all.dedup();
        all.into_iter().map(Some).collect()
    }

    fn follow_kind(&mut self, kind: Kind, version: Version, pending: &Pending) -> Followed {
        let mut collections = Vec::new();
        for namespace in self.namespaces(kind) {
            let (out, notices) = mpsc::channel(WAITING);
            let handle = self.follow(target(kind, version, namespace.as_ref()), out.clone());
            self.tasks.spawn(Objects::new(kind, self.shared.clone()).run(notices, pending.clone()));
            collections.push((namespace, out, handle));
        }
        Followed { version, collections }
    }

    /// Starts and ends watches so that they are those of `served`. The first time, `first` tells who waits for the lists.
    fn serve(&mut self, served: &Served, first: Option<(mpsc::Sender<()>, mpsc::Sender<()>)>) {
        let gone: Vec<Kind> = self.kinds.keys().filter(|kind| !served.contains_key(kind)).copied().collect();
        for kind in gone {
            tracing::info!(%kind, "not followed any more, since the API server does not know it");
            // With the last sender of their notices, the objects go.
            for (_, _, handle) in self.kinds.remove(&kind).into_iter().flat_map(|followed| followed.collections) {
                handle.abort();
            }
        }
        for (kind, version) in served {
            match self.kinds.remove(kind) {
                Some(followed) if followed.version == *version => {
                    self.kinds.insert(*kind, followed);
                }
                Some(followed) => {
                    let moved = self.restart(*kind, version, followed);
                    self.kinds.insert(*kind, moved);
                }
                None => {
                    let pending = first.iter().flat_map(|(pending, naming)| {
                        let names = matches!(kind, Kind::Gateway | Kind::DestinationRule).then(|| naming.clone());
                        std::iter::once(pending.clone()).chain(names)
                    });
                    let pending = pending.collect();
                    let followed = self.follow_kind(*kind, version, &pending);
                    self.kinds.insert(*kind, followed);
                }
            }
        }
        // Of those that have ended nothing is kept.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Follows a kind in another version; its objects stay until the new list is complete.
    fn restart(&mut self, kind: Kind, version: Version, old: Followed) -> Followed {
        let mut collections = Vec::new();
        for (namespace, out, handle) in old.collections {
            handle.abort();
            let handle = self.follow(target(kind, version, namespace.as_ref()), out.clone());
            collections.push((namespace, out, handle));
        }
        Followed { version, collections }
    }

    /// Follows the mesh-wide settings, if they are ours to follow; returns where the discovery selectors are told.
    fn settings(&mut self, pending: &mpsc::Sender<()>) -> state::Receiver<scope::Selectors> {
        if let MeshSettings::Elsewhere(selectors) = &self.options.mesh {
            return selectors.clone();
        }
        let (selectors_out, selectors) = state::channel(None);
        let (out, notices) = mpsc::channel(WAITING);
        let target = Target::kind(Kind::ConfigMap, "v1", Some(&self.options.root_namespace)).only(self.options.config_map());
        self.follow(target, out);
        let (cluster, events) = (self.options.cluster.clone(), self.shared.out.clone());
        self.tasks.spawn(Settings::default().run(cluster, notices, selectors_out, events, pending.clone()));
        selectors
    }

    /// Follows the revision's tags.
    fn tags(&mut self, pending: &mpsc::Sender<()>) -> state::Receiver<tags::Known> {
        let (tags_out, known) = state::channel(None);
        let (out, notices) = mpsc::channel(WAITING);
        let webhooks = Target::new("RevisionTag", "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", None);
        self.follow(webhooks.with_label(tags::TAG).metadata_only(), out);
        self.tasks.spawn(Tags::default().run(self.options.revision.clone(), notices, tags_out, pending.clone()));
        known
    }

    fn secrets(&mut self, pending: &mpsc::Sender<()>, mut named: mpsc::Receiver<()>) {
        let all_named = state::Sender::new(false);
        for namespace in self.namespaces(Kind::Secret) {
            let (out, notices) = mpsc::channel(WAITING);
            let target = Target::kind(Kind::Secret, "v1", namespace.as_ref()).with_fields(secrets::FIELDS).metadata_only();
            self.follow(target, out);
            let secrets = Secrets::new(self.client.clone(), self.shared.clone());
            self.tasks.spawn(secrets.run(notices, all_named.subscribe(), pending.clone()));
        }
        self.tasks.spawn(async move {
            // Nothing is ever sent there: it ends when all that can name Secrets has been listed.
            named.recv().await;
            all_named.send_replace(true);
            // Its receivers would take its end for that of the cluster.
            all_named.closed().await;
        });
    }
}

fn target(kind: Kind, version: Version, namespace: Option<&Namespace>) -> Target {
    let target = Target::kind(kind, version, namespace);
    match kind {
        // As in Istio: a pod that has failed serves nothing and never will.
        Kind::Pod => target.with_fields("status.phase!=Failed"),
        _ => target,
    }
}
