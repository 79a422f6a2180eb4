//! When which object is written: changed ones only, by the leader only, each at most once a second.

use super::{
    DesiredStatus, DesiredStatuses, Leadership, StatusMetrics,
    apply::{self, Definition, Outcome, Target},
    current::{self, Current},
};
use base::ObjectRef;
use istio_api::Kind;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet, time::Instant};

/// Between two writes to one object. A refusal is still seen within 2 s, and a storm of changes costs a write a second.
const PAUSE: Duration = Duration::from_secs(1);
/// After a failure, doubled each time.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Writes that wait for their answer.
const AT_ONCE: usize = 8;
/// Between the starts of two writes: 500 a second at most.
const SPACING: Duration = Duration::from_millis(2);

/// Writes what is wanted of what is ours by `leadership`, until nobody says any more what is wanted; `None` means that it is not
/// known yet. `revision` is our own.
pub async fn run(
    client: Client,
    revision: Arc<str>,
    mut desired: watch::Receiver<Option<Arc<DesiredStatuses>>>,
    mut leadership: watch::Receiver<Leadership>,
    metrics: StatusMetrics,
) {
    loop {
        let held = *leadership.borrow_and_update();
        if !held.any() {
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() { return },
                changed = desired.changed() => if changed.is_err() { return },
            }
            continue;
        }
        let mut writer = Writer::new(client.clone(), held, revision.clone(), metrics.clone());
        tokio::select! {
            // Dropping the writer ends writes under way: nothing of ours is sent once another one may lead.
            changed = leadership.changed() => if changed.is_err() { return },
            () = writer.write(&mut desired) => return,
        }
    }
}

/// The state of one term as the leader.
struct Writer {
    client: Client,
    leadership: Leadership,
    revision: Arc<str>,
    metrics: StatusMetrics,
    /// What is known to be stored.
    stored: BTreeMap<ObjectRef, Current>,
    /// Those of the kinds that the cluster has.
    definitions: BTreeMap<Kind, Definition>,
    /// Objects that differ from what is wanted, and when they may be written; none that is being written.
    due: BTreeMap<ObjectRef, Instant>,
    /// The same in the order of time.
    queue: BTreeSet<(Instant, ObjectRef)>,
    /// When each object was last written, as long as that matters; and how often that has failed in a row.
    last: BTreeMap<ObjectRef, (Instant, u32)>,
    /// Objects whose status is another controller's, with what was wanted then.
    owned: BTreeMap<ObjectRef, Arc<DesiredStatus>>,
    under_way: BTreeSet<ObjectRef>,
    writes: JoinSet<(ObjectRef, Outcome)>,
}

impl Writer {
    fn new(client: Client, leadership: Leadership, revision: Arc<str>, metrics: StatusMetrics) -> Self {
        Self {
            client,
            leadership,
            revision,
            metrics,
            stored: BTreeMap::new(),
            definitions: BTreeMap::new(),
            due: BTreeMap::new(),
            queue: BTreeSet::new(),
            last: BTreeMap::new(),
            owned: BTreeMap::new(),
            under_way: BTreeSet::new(),
            writes: JoinSet::new(),
        }
    }

    /// Returns when nobody says any more what is wanted.
    async fn write(&mut self, desired: &mut watch::Receiver<Option<Arc<DesiredStatuses>>>) {
        let Ok(first) = desired.wait_for(Option::is_some).await.map(|wanted| wanted.clone().unwrap_or_default()) else { return };
        let mut wanted = self.ours(first);
        self.look_around(&wanted).await;
        self.compare(&wanted);
        loop {
            let next = self.queue.first().map(|(due, _)| *due);
            tokio::select! {
                changed = desired.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if let Some(changed) = desired.borrow_and_update().clone() {
                        wanted = self.ours(changed);
                        self.compare(&wanted);
                    }
                }
                Some(done) = self.writes.join_next() => {
                    if let Ok((object, outcome)) = done {
                        self.take(object, outcome, &wanted);
                    }
                }
                () = until(next), if self.writes.len() < AT_ONCE => {
                    self.start(&wanted);
                    tokio::time::sleep(SPACING).await;
                }
            }
        }
    }

    /// What of it may be ours to write.
    fn ours(&self, wanted: Arc<DesiredStatuses>) -> Arc<DesiredStatuses> {
        let is_ours = |status: &Arc<DesiredStatus>| self.leadership.may_write(status);
        if wanted.values().all(is_ours) {
            return wanted;
        }
        let ours = wanted.iter().filter(|(_, status)| is_ours(status));
        Arc::new(ours.map(|(object, status)| (object.clone(), status.clone())).collect())
    }

    /// Reads what is stored, with pauses until that succeeds.
    async fn look_around(&mut self, wanted: &DesiredStatuses) {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for kind in Kind::ALL.iter().copied().filter(|kind| !kind.is_kubernetes()) {
            let mut pause = PAUSE;
            loop {
                let read = async {
                    let definition = definitions.get_opt(&format!("{}.{}", kind.plural(), kind.group())).await?;
                    let definition = definition.map_or_else(|| unknown(kind), |definition| read_definition(kind, &definition));
                    Ok::<_, kube::Error>((definition, current::read(&self.client, (kind, definition.version), wanted).await?))
                };
                match read.await {
                    Ok((definition, stored)) => {
                        self.definitions.insert(kind, definition);
                        self.stored.extend(stored);
                        break;
                    }
                    Err(error) => tracing::warn!("the status of {kind} cannot be read: {error}; next try in {pause:?}"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Notes which objects differ from what is wanted.
    fn compare(&mut self, wanted: &DesiredStatuses) {
        let now = Instant::now();
        self.last.retain(|_, (at, failures)| *failures > 0 || now.duration_since(*at) < PAUSE);
        self.stored.retain(|object, _| wanted.contains_key(object));
        self.owned.retain(|object, given| wanted.get(object).is_some_and(|status| status == given));
        self.due.retain(|object, _| wanted.contains_key(object));
        self.queue.retain(|(_, object)| wanted.contains_key(object));
        for (object, status) in wanted {
            self.note(object, status);
        }
    }

    /// Notes whether one object differs from what is wanted.
    fn note(&mut self, object: &ObjectRef, status: &DesiredStatus) {
        let is_stored = self.stored.get(object).is_some_and(|stored| stored.is(status));
        if is_stored || self.owned.contains_key(object) {
            if let Some(due) = self.due.remove(object) {
                self.queue.remove(&(due, object.clone()));
            }
        } else if !self.due.contains_key(object) && !self.under_way.contains(object) {
            let now = Instant::now();
            let since = self.last.get(object).map(|(at, failures)| *at + pause(*failures));
            let due = since.map_or(now, |since| since.max(now));
            self.due.insert(object.clone(), due);
            self.queue.insert((due, object.clone()));
        }
    }

    /// Starts the write that is due.
    fn start(&mut self, wanted: &DesiredStatuses) {
        let Some((_, object)) = self.queue.pop_first() else { return };
        self.due.remove(&object);
        let Some(status) = wanted.get(&object) else { return };
        let before = self.stored.get(&object).cloned().unwrap_or_default();
        let after = before.after(status);
        let Some(kind) = current::kind_of(&object) else { return };
        let definition = self.definitions.get(&kind).copied().unwrap_or_else(|| unknown(kind));
        let target = Target { client: self.client.clone(), leadership: self.leadership, revision: self.revision.clone(), definition };
        self.under_way.insert(object.clone());
        self.writes.spawn(async move {
            let outcome = apply::apply(target, object.clone(), before, after).await;
            (object, outcome)
        });
    }

    fn take(&mut self, object: ObjectRef, outcome: Outcome, wanted: &DesiredStatuses) {
        self.under_way.remove(&object);
        let wanted = wanted.get(&object);
        let failures = self.last.get(&object).map_or(0, |(_, failures)| *failures);
        let now = Instant::now();
        match outcome {
            Outcome::Written(current) => {
                self.metrics.wrote("written");
                self.stored.insert(object.clone(), current);
                self.last.insert(object.clone(), (now, 0));
            }
            Outcome::Gone => {
                // Until it is no longer wanted, it is asked for with the pauses of failures.
                self.metrics.wrote("gone");
                self.last.insert(object.clone(), (now, failures + 1));
            }
            Outcome::Owned => {
                self.metrics.wrote("owned");
                self.owned.extend(wanted.map(|status| (object.clone(), status.clone())));
                self.last.insert(object.clone(), (now, 0));
            }
            Outcome::Failed(error) => {
                self.metrics.wrote("failed");
                tracing::warn!("the status of {object} cannot be written: {error}");
                self.last.insert(object.clone(), (now, failures + 1));
            }
        }
        // It may have changed meanwhile.
        if let Some(status) = wanted {
            self.note(&object, status);
        }
    }
}

/// The pause after so many failures.
fn pause(failures: u32) -> Duration {
    PAUSE.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Of a kind that comes later: as we define it.
fn unknown(kind: Kind) -> Definition {
    Definition { version: kind.versions().first().copied().unwrap_or_default(), conditions_are_a_map: true }
}

fn read_definition(kind: Kind, definition: &CustomResourceDefinition) -> Definition {
    let served = |ours: &&&str| definition.spec.versions.iter().any(|version| version.served && version.name == **ours);
    let version = kind.versions().iter().find(served).copied().unwrap_or(unknown(kind).version);
    Definition { version, conditions_are_a_map: conditions_are_a_map(definition) }
}

/// Whether the definition lets each condition have its own owner.
fn conditions_are_a_map(definition: &CustomResourceDefinition) -> bool {
    let versions = definition.spec.versions.iter();
    let schema = versions.filter(|version| version.storage).find_map(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let property = |schema: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps, name: &str| {
        schema.properties.as_ref().and_then(|properties| properties.get(name)).cloned()
    };
    let conditions = schema.and_then(|schema| property(schema, "status")).and_then(|status| property(&status, "conditions"));
    conditions.and_then(|conditions| conditions.x_kubernetes_list_type).as_deref() == Some("map")
}
