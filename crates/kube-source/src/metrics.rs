//! What the watches tell of themselves: as metrics, and in the log when one has fallen silent.

use crate::Error;
use base::ClusterId;
use prometheus::{
    IntCounterVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A healthy watch hears something at least every minute, if only a bookmark. This is three of them.
const SILENT: Duration = Duration::from_secs(200);
/// How often the ages are looked at.
const LOOK: Duration = Duration::from_secs(20);

/// The metrics of all Kubernetes sources of the process; cloning it gives the same ones.
#[derive(Clone)]
pub struct Metrics {
    events: IntCounterVec,
    config_events: IntCounterVec,
    failures: IntCounterVec,
    ages: Ages,
}

/// What happened to an object, in Istio's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
    /// It is new.
    Add,
    /// It is another.
    Update,
    /// It is gone.
    Delete,
}

impl Happened {
    fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl Metrics {
    /// Registers them. Fails only if they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let metrics = Self {
            events: counter("pilot_k8s_reg_events", "Events from k8s registry.", &["type", "event"])?,
            config_events: counter("pilot_k8s_cfg_events", "Events from k8s config.", &["type", "event"])?,
            failures: counter("pilot_k8s_watch_failures_total", "Watches that had to be taken up again.", &["cluster", "type"])?,
            ages: Ages::new()?,
        };
        registry.register(Box::new(metrics.ages.clone()))?;
        Ok(metrics)
    }

    /// Counts an event of a kind.
    pub fn event(&self, kind: istio_api::Kind, happened: Happened) {
        let counter = if kind.is_kubernetes() { &self.events } else { &self.config_events };
        counter.with_label_values(&[kind.as_str(), happened.as_str()]).inc();
    }

    /// The health of a new watch, which counts for as long as it exists.
    pub fn watch(&self, cluster: &ClusterId, name: &str) -> Arc<Health> {
        let health = Arc::new(Health {
            cluster: cluster.to_string(),
            name: name.to_owned(),
            failures: self.failures.clone(),
            started: Instant::now(),
            heard: AtomicU64::new(0),
            silent: AtomicBool::new(false),
        });
        let mut watches = self.ages.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|known| known.strong_count() > 0);
        watches.push(Arc::downgrade(&health));
        health
    }

    /// Warns of every watch that falls silent, and says when it is heard again; never ends.
    pub async fn alarm(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.ages.each(Health::look);
        }
    }
}

/// When a watch was last heard of.
pub struct Health {
    cluster: String,
    name: String,
    failures: IntCounterVec,
    started: Instant,
    /// In milliseconds since `started`.
    heard: AtomicU64,
    silent: AtomicBool,
}

impl Health {
    /// Something came: an object, a bookmark, a page.
    pub fn heard(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now, Ordering::Relaxed);
    }

    /// The watch broke and is taken up again.
    pub fn failed(&self) {
        self.failures.with_label_values(&[self.cluster.as_str(), self.name.as_str()]).inc();
    }

    fn age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    fn look(&self) {
        let (silent, age) = (self.age() > SILENT, self.age().as_secs());
        if silent == self.silent.swap(silent, Ordering::Relaxed) {
            return;
        }
        if silent {
            tracing::warn!(cluster = %self.cluster, watch = %self.name, "nothing heard of the API server for {age} s; what is served may be old");
        } else {
            tracing::info!(cluster = %self.cluster, watch = %self.name, "the API server is heard again");
        }
    }
}

/// The ages of all watches, taken when the metric is read.
#[derive(Clone)]
struct Ages {
    watches: Arc<Mutex<Vec<Weak<Health>>>>,
    gauge: prometheus::GaugeVec,
}

impl Ages {
    fn new() -> Result<Self, Error> {
        let help = "Time since the API server was last heard on a watch, in seconds.";
        let gauge = prometheus::GaugeVec::new(Opts::new("pilot_k8s_watch_age_seconds", help), &["cluster", "type"])?;
        Ok(Self { watches: Arc::default(), gauge })
    }

    fn each(&self, mut look: impl FnMut(&Health)) {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.iter().filter_map(Weak::upgrade).for_each(|health| look(&health));
    }
}

impl Collector for Ages {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.reset();
        // With several watches of a kind (one for each namespace) the oldest counts.
        self.each(|health| {
            let gauge = self.gauge.with_label_values(&[health.cluster.as_str(), health.name.as_str()]);
            gauge.set(gauge.get().max(health.age().as_secs_f64()));
        });
        self.gauge.collect()
    }
}
