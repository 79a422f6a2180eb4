//! The way of events from the sources to the pipeline: a RequestAuthentication waits until its issuers were asked once,
//! unless their keys are known from before.

use crate::{
    Options,
    fetch::{self, FetchError},
    issuer::{Issuer, Outcome},
    keeper::Keeper,
    metrics::Metrics,
    store::KeyStore,
    transport::Transport,
};
use base::{ClusterId, Namespace};
use config::{Change, Event, JwksSource};
use istio_api::{AnyObject, Kind};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How long fetching may take, if no rule says it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which object an event is about.
type ObjectKey = (ClusterId, Namespace, Arc<str>);

/// An event that waits.
struct Held {
    event: Event,
    /// `None` for the end of a source's first batch, which must not overtake its objects.
    object: Option<ObjectKey>,
    waits_for: BTreeSet<JwksSource>,
}

struct Gate {
    options: Options,
    transport: Transport,
    metrics: Metrics,
    /// What each object names, with the time that its rule gives.
    wanted: BTreeMap<ObjectKey, BTreeMap<JwksSource, Duration>>,
    issuers: BTreeMap<JwksSource, Issuer>,
    held: Vec<Held>,
    fetches: JoinSet<(JwksSource, Result<Arc<str>, FetchError>)>,
    keeper: Keeper,
    out: mpsc::Sender<Vec<Event>>,
}

/// Passes events on, with the keys of the issuers that they name, which `store` keeps. Ends with `events`.
pub fn through(
    mut events: mpsc::Receiver<Vec<Event>>,
    options: Options,
    store: Option<Arc<dyn KeyStore>>,
    registry: &prometheus::Registry,
) -> mpsc::Receiver<Vec<Event>> {
    let (out, passed) = mpsc::channel(64);
    let mut gate = Gate {
        transport: Transport::new(&options),
        keeper: Keeper::new(store, options.lifetime),
        options,
        metrics: Metrics::new(registry),
        wanted: BTreeMap::new(),
        issuers: BTreeMap::new(),
        held: Vec::new(),
        fetches: JoinSet::new(),
        out,
    };
    tokio::spawn(async move {
        gate.keeper.load().await;
        loop {
            gate.ask_due();
            let next = gate.issuers.values().filter_map(Issuer::due).min();
            let keep = gate.keeper.due();
            let batch = tokio::select! {
                events = events.recv() => match events {
                    Some(events) => gate.take(events),
                    None => return,
                },
                Some(Ok((source, answer))) = gate.fetches.join_next() => gate.answered(&source, &answer),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => Vec::new(),
                () = sleep_until(keep.unwrap_or_else(Instant::now)), if keep.is_some() => {
                    gate.keeper.save().await;
                    Vec::new()
                }
            };
            if !batch.is_empty() && gate.out.send(batch).await.is_err() {
                return;
            }
        }
    });
    passed
}

impl Gate {
    /// Lets events pass but those that have to wait.
    fn take(&mut self, events: Vec<Event>) -> Vec<Event> {
        let mut batch = Vec::new();
        for event in events {
            match about(&event, &self.options) {
                Some((key, wanted)) => {
                    // What was said of the object before is out of date, also if it is still held back.
                    self.held.retain(|held| held.object.as_ref() != Some(&key));
                    let sources: BTreeSet<JwksSource> = wanted.keys().cloned().collect();
                    batch.extend(self.recalled(&sources));
                    if wanted.is_empty() {
                        self.wanted.remove(&key);
                    } else {
                        self.wanted.insert(key.clone(), wanted);
                    }
                    self.hold_or_pass(event, Some(key), sources, &mut batch);
                }
                None if event.change == Change::Synced => {
                    let all = self.issuers.keys().cloned().collect();
                    self.hold_or_pass(event, None, all, &mut batch);
                }
                None => batch.push(event),
            }
        }
        batch.extend(self.forget_unwanted());
        batch
    }

    /// The keys of issuers that are new here and known from before.
    fn recalled(&mut self, sources: &BTreeSet<JwksSource>) -> Vec<Event> {
        let now = Instant::now();
        let mut events = Vec::new();
        for source in sources.iter().filter(|source| !self.issuers.contains_key(*source)).cloned().collect::<Vec<_>>() {
            if let Some((keys, confirmed)) = self.keeper.recall(&source, now) {
                events.push(keys_event(&source, Some(keys.clone())));
                self.issuers.insert(source, Issuer::known(keys, confirmed, now));
            }
        }
        events
    }

    fn hold_or_pass(&mut self, event: Event, object: Option<ObjectKey>, sources: BTreeSet<JwksSource>, batch: &mut Vec<Event>) {
        let now = Instant::now();
        let waits_for: BTreeSet<JwksSource> = sources
            .into_iter()
            .filter(|source| !self.issuers.entry(source.clone()).or_insert_with(|| Issuer::new(now)).attempted())
            .collect();
        if waits_for.is_empty() {
            batch.push(event);
        } else {
            self.held.push(Held { event, object, waits_for });
        }
    }

    /// Starts fetching from all issuers whose time has come.
    fn ask_due(&mut self) {
        let now = Instant::now();
        for (source, issuer) in &mut self.issuers {
            if issuer.due().is_some_and(|due| due <= now) {
                issuer.asked();
                let timeout = self.wanted.values().filter_map(|wanted| wanted.get(source)).max().copied().unwrap_or(TIMEOUT);
                let (transport, source) = (self.transport.clone(), source.clone());
                self.fetches.spawn(async move {
                    let answer = fetch::keys(&transport, &source, timeout).await;
                    (source, answer)
                });
            }
        }
    }

    /// What follows from an answer: other keys, and objects that need not wait any more.
    fn answered(&mut self, source: &JwksSource, answer: &Result<Arc<str>, FetchError>) -> Vec<Event> {
        self.metrics.count(answer.is_ok());
        // Nobody may want it any more.
        let Some(issuer) = self.issuers.get_mut(source) else { return Vec::new() };
        let outcome = issuer.answered(answer, &self.options, Instant::now());
        if let Some((keys, confirmed)) = issuer.keys() {
            self.keeper.note(source, keys, confirmed);
        }
        if let Err(error) = answer {
            let effect = match &outcome {
                Outcome::Keys(None) => "the last good keys are too old, so that its tokens are refused",
                _ => "what was last fetched stays in use; without it its tokens are refused",
            };
            tracing::warn!("the keys of {} cannot be fetched: {error}; {effect}", name(source));
        }
        let mut batch = Vec::new();
        if let Outcome::Keys(keys) = outcome {
            batch.push(keys_event(source, keys));
        }
        for held in std::mem::take(&mut self.held) {
            let mut held = held;
            held.waits_for.remove(source);
            if held.waits_for.is_empty() { batch.push(held.event) } else { self.held.push(held) }
        }
        batch.extend(self.forget_unwanted());
        batch
    }

    /// Drops what no object names any more. While an object waits, the pipeline still has what it was before.
    fn forget_unwanted(&mut self) -> Vec<Event> {
        if !self.held.is_empty() {
            return Vec::new();
        }
        let wanted: BTreeSet<&JwksSource> = self.wanted.values().flat_map(BTreeMap::keys).collect();
        let gone: Vec<JwksSource> = self.issuers.keys().filter(|source| !wanted.contains(source)).cloned().collect();
        gone.iter().for_each(|source| drop(self.issuers.remove(source)));
        gone.iter().map(|source| keys_event(source, None)).collect()
    }
}

fn keys_event(source: &JwksSource, keys: Option<Arc<str>>) -> Event {
    // Keys belong to no cluster; policies of all of them find them by their source.
    Event { cluster: ClusterId::default(), change: Change::Jwks { source: source.clone(), keys } }
}

/// The RequestAuthentication that an event is about, and what it names; nothing, if it is gone.
fn about(event: &Event, options: &Options) -> Option<(ObjectKey, BTreeMap<JwksSource, Duration>)> {
    match &event.change {
        Change::Set(AnyObject::RequestAuthentication(object)) => {
            let rules = object.spec.jwt_rules.iter();
            let wanted = rules
                .filter(|rule| !options.uris_elsewhere || rule.jwks_uri.is_empty())
                .filter_map(|rule| Some((JwksSource::of(rule)?, rule.timeout.map_or(TIMEOUT, |timeout| timeout.0))));
            let (namespace, name) = (object.metadata.namespace.clone(), object.metadata.name.clone());
            Some(((event.cluster.clone(), namespace, name), wanted.collect()))
        }
        Change::Delete { kind: Kind::RequestAuthentication, namespace, name } => {
            Some(((event.cluster.clone(), namespace.clone(), name.clone()), BTreeMap::new()))
        }
        _ => None,
    }
}

fn name(source: &JwksSource) -> &str {
    match source {
        JwksSource::Uri(text) | JwksSource::Discovery(text) => text,
    }
}
