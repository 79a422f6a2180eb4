//! What the Kubernetes source says of a cluster, gathered for assertions.

use anyhow::{Result, bail};
use config::{Change, Event, Store};
use kube_source::{Access, Metrics, Options};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinHandle};

/// How long a change may take to arrive on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A source and everything that it has said.
pub struct Watched {
    /// The objects now.
    pub store: Store,
    /// Everything that was said since [`Watched::forget`], oldest first.
    pub events: Vec<Event>,
    /// The source's metrics.
    pub registry: prometheus::Registry,
    /// Whether it has said that it has synced.
    pub synced: bool,
    batches: mpsc::Receiver<Vec<Event>>,
    task: JoinHandle<()>,
}

impl Watched {
    /// Follows the cluster of a kubeconfig and waits for it to sync.
    ///
    /// # Errors
    /// If there is no client, or it does not sync.
    pub async fn start(kubeconfig: &Path, options: Options) -> Result<Self> {
        let mut watched = Self::begin(kubeconfig, options).await?;
        watched.until("the source synced", |watched| watched.synced).await?;
        Ok(watched)
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// If there is no client.
    pub async fn begin(kubeconfig: &Path, options: Options) -> Result<Self> {
        let client = kube_source::connect(&Access::Kubeconfig(kubeconfig.to_owned())).await?;
        let (out, batches) = mpsc::channel(64);
        let registry = prometheus::Registry::new();
        let task = tokio::spawn(kube_source::run(client, options, Metrics::new(&registry)?, out));
        Ok(Self { store: Store::default(), events: Vec::new(), registry, synced: false, batches, task })
    }

    /// Takes what comes until `condition` holds.
    ///
    /// # Errors
    /// If it does not within half a minute; `what` says what was waited for.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !condition(self) {
            match tokio::time::timeout(end.saturating_duration_since(Instant::now()), self.batches.recv()).await {
                Ok(Some(batch)) => self.take(batch),
                Ok(None) => bail!("the source ended before {what}"),
                Err(_) => bail!("not within {} s: {what}", PATIENCE.as_secs()),
            }
        }
        Ok(())
    }

    fn take(&mut self, batch: Vec<Event>) {
        self.synced |= batch.iter().any(|event| event.change == Change::Synced);
        self.events.extend(batch.iter().cloned());
        self.store.apply(batch);
    }

    /// Forgets what was said; the objects stay.
    pub fn forget(&mut self) {
        self.events.clear();
    }

    /// How many objects were set, and how many deleted, among what was said.
    pub fn counts(&self) -> (usize, usize) {
        let set = self.events.iter().filter(|event| matches!(event.change, Change::Set(_))).count();
        let deleted = self.events.iter().filter(|event| matches!(event.change, Change::Delete { .. })).count();
        (set, deleted)
    }

    /// The sum of a metric over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let metrics = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        metrics.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}
