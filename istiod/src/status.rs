//! What is to be said of every object in its status, and who writes it.
//!
//! Each object of the cluster has three conditions: `Accepted` (it is used, or why not, and what of it is not),
//! `ResolvedRefs` (what it names exists) and `Programmed` (no proxy refuses what was made of it, or Envoy's own words).

use crate::{
    discovery::{Front, Rejections},
    pipeline::Published,
};
use analysis::{Foreign, Mesh, Needs};
use base::{ClusterId, Diagnostic, Level, ObjectRef};
use config::Store;
use istio_api::{Kind, Metadata};
use kube_source::status::{DesiredAddress, DesiredCondition, DesiredMessage, DesiredStatus, DesiredStatuses, Leadership, ObjectRevision};
use model::Snapshot;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// Between two judgements, so that a storm of changes costs one a second; more if a judgement takes long.
const PAUSE: Duration = Duration::from_secs(1);
/// Pods and Nodes come and go all the time, and hardly matter.
const WORKLOADS_PAUSE: Duration = Duration::from_secs(10);
/// Between two looks whether there are objects of our revision only.
const OWN_PAUSE: Duration = Duration::from_secs(5);
/// The label of objects that are for one revision only.
const REVISION: &str = "istio.io/rev";
/// A judgement takes this part of one processor at most.
const SHARE: u32 = 20;
/// The codes of references that do not resolve, each with the reason of the condition (the Gateway API's, where it has one).
const UNRESOLVED: [(&str, &str); 3] =
    [("CredentialNotGranted", "RefNotPermitted"), ("IST0161", "InvalidCertificateRef"), ("IST0101", "NotFound")];

/// Whether there are objects that only our revision reads.
pub fn follow_own(mut readable: watch::Receiver<Arc<Published>>, cluster: ClusterId) -> watch::Receiver<bool> {
    let (out, any) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let published = readable.borrow_and_update().clone();
            let found = has_own(&published.store, &cluster);
            out.send_if_modified(|known| std::mem::replace(known, found) != found);
            tokio::time::sleep(OWN_PAUSE).await;
            if readable.changed().await.is_err() {
                return;
            }
        }
    });
    any
}

/// Says what is wanted whenever we have any of `leadership` and everything has synced; else `None`.
pub fn follow(
    mut readable: watch::Receiver<Arc<Published>>,
    front: Arc<Front>,
    cluster: ClusterId,
    mut leadership: watch::Receiver<Leadership>,
) -> watch::Receiver<Option<Arc<DesiredStatuses>>> {
    let (out, desired) = watch::channel(None);
    let mut rejections = front.follow_rejections();
    tokio::spawn(async move {
        let mut judge = Judge::new(cluster);
        loop {
            if !leadership.borrow_and_update().any() {
                judge = Judge::new(judge.cluster);
                out.send_replace(None);
                match leadership.changed().await {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            }
            let published = readable.borrow_and_update().clone();
            rejections.mark_unchanged();
            if published.synced && judge.look(&published) | judge.refused(&front.rejections()) {
                out.send_replace(Some(judge.desired()));
            }
            let pending = judge.next(&published);
            tokio::select! {
                () = tokio::time::sleep_until(pending.unwrap_or_else(Instant::now)), if pending.is_some() => {}
                changed = readable.changed(), if pending.is_none() => if changed.is_err() { return },
                changed = rejections.changed() => if changed.is_err() { return },
                changed = leadership.changed() => if changed.is_err() { return },
            }
        }
    });
    desired
}

/// The last judgement, and of what.
struct Judge {
    cluster: ClusterId,
    /// The state that was judged.
    judged: Option<Arc<Published>>,
    /// What was found, as if no proxy refused anything.
    statuses: DesiredStatuses,
    /// What proxies refuse, by object.
    refusals: BTreeMap<ObjectRef, String>,
    last: Instant,
    took: Duration,
}

impl Judge {
    fn new(cluster: ClusterId) -> Self {
        Self { cluster, judged: None, statuses: BTreeMap::new(), refusals: BTreeMap::new(), last: Instant::now(), took: Duration::ZERO }
    }

    /// When `published` may be judged; `None` if nothing of it has changed.
    fn next(&self, published: &Published) -> Option<Instant> {
        let Some(judged) = &self.judged else { return published.synced.then(Instant::now) };
        let pause = PAUSE.max(self.took.saturating_mul(SHARE));
        match change(&judged.store, &published.store) {
            // What is said of gateways also depends on which ones are connected.
            Weight::None if !Arc::ptr_eq(&judged.classes, &published.classes) => Some(self.last + pause.max(WORKLOADS_PAUSE)),
            Weight::None => None,
            Weight::Light => Some(self.last + pause.max(WORKLOADS_PAUSE)),
            Weight::Full => Some(self.last + pause),
        }
    }

    /// Judges everything anew if it is time; returns whether anything is to be said differently.
    fn look(&mut self, published: &Arc<Published>) -> bool {
        if self.next(published).is_none_or(|next| next > Instant::now()) {
            return false;
        }
        let start = Instant::now();
        let new = judge(published, &self.cluster);
        let first = self.judged.replace(published.clone()).is_none();
        (self.last, self.took) = (start, start.elapsed());
        let old = std::mem::take(&mut self.statuses);
        // An equal status keeps its allocation, by which the writer sees that it has not changed.
        let keep = |(object, status): (ObjectRef, DesiredStatus)| {
            let status = old.get(&object).filter(|old| ***old == status).cloned().unwrap_or_else(|| Arc::new(status));
            (object, status)
        };
        self.statuses = new.into_iter().map(keep).collect();
        first || self.statuses != old
    }

    /// Takes over what proxies refuse; returns whether that has changed.
    fn refused(&mut self, rejections: &Rejections) -> bool {
        let mut refusals: BTreeMap<ObjectRef, String> = BTreeMap::new();
        for rejection in rejections.values() {
            for origin in rejection.origins.iter().filter(|origin| !refusals.contains_key(*origin)).cloned().collect::<Vec<_>>() {
                refusals.insert(origin, format!("{} (proxy {}, {})", rejection.message, rejection.proxy, rejection.kind));
            }
        }
        let changed = refusals != self.refusals;
        self.refusals = refusals;
        changed
    }

    fn desired(&self) -> Arc<DesiredStatuses> {
        let mut desired = self.statuses.clone();
        for (object, message) in &self.refusals {
            if let Some(status) = desired.get_mut(object) {
                let status = Arc::make_mut(status);
                status.conditions.retain(|condition| condition.condition_type != "Programmed");
                status.conditions.push(condition("Programmed", false, "RefusedByProxy", message.clone()));
            }
        }
        Arc::new(desired)
    }
}

fn condition(condition_type: &'static str, holds: bool, reason: &'static str, message: String) -> DesiredCondition {
    DesiredCondition { condition_type, holds, reason, message }
}

/// How much a change of the store matters to what is said of objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    None,
    /// Only workloads.
    Light,
    Full,
}

macro_rules! tables {
    ($( $kind:ident { spec: $spec:ty, status: $status:ty, field: $field:ident, $($rest:tt)* } )+) => {
        /// What differs between two stores; endpoints do not matter at all.
        fn change(old: &Store, new: &Store) -> Weight {
            let mut weight = if old.findings != new.findings || !Arc::ptr_eq(&old.mesh, &new.mesh) { Weight::Full } else { Weight::None };
            $(
                if weight != Weight::Full && Kind::$kind != Kind::EndpointSlice && old.$field.changes(&new.$field).next().is_some() {
                    weight = if matches!(Kind::$kind, Kind::Pod | Kind::Node) { Weight::Light } else { Weight::Full };
                }
            )+
            weight
        }

        /// Whether an object of Istio's kinds in the cluster has the label of a revision.
        fn has_own(store: &Store, cluster: &ClusterId) -> bool {
            let cx = &mut incremental::Cx::default();
            let mut any = false;
            $(
                if !any && !Kind::$kind.is_kubernetes() {
                    any = store.$field.iter(cx).any(|(key, object)| key.cluster == *cluster && revision(&object.metadata) == ObjectRevision::Ours);
                }
            )+
            any
        }

        /// The generation of every object of Istio's kinds in the cluster, and whose it is.
        fn generations(store: &Store, cluster: &ClusterId) -> BTreeMap<ObjectRef, (i64, ObjectRevision)> {
            let cx = &mut incremental::Cx::default();
            let mut all = BTreeMap::new();
            $(
                if !Kind::$kind.is_kubernetes() {
                    for (key, object) in store.$field.iter(cx).filter(|(key, _)| key.cluster == *cluster) {
                        let reference = ObjectRef { kind: Kind::$kind.as_str(), namespace: key.namespace.clone(), name: key.name.clone() };
                        all.insert(reference, (object.metadata.generation, revision(&object.metadata)));
                    }
                }
            )+
            all
        }
    };
}

istio_api::for_each_kind!(tables);

/// Whose an object is; those of other revisions are not in the store.
fn revision(metadata: &Metadata) -> ObjectRevision {
    match metadata.labels.get(REVISION) {
        Some(revision) if !revision.is_empty() => ObjectRevision::Ours,
        _ => ObjectRevision::All,
    }
}

/// The status of every object of the cluster. Objects of files have no generation, and no status.
fn judge(published: &Published, cluster: &ClusterId) -> BTreeMap<ObjectRef, DesiredStatus> {
    let (store, snapshot) = (&published.store, &published.snapshot);
    let findings = findings(published);
    let mut addresses = addresses(snapshot, store);
    let mut statuses = BTreeMap::new();
    for (object, (generation, revision)) in generations(store, cluster).into_iter().filter(|(_, (generation, _))| *generation > 0) {
        let found = findings.get(&object).map(Vec::as_slice).unwrap_or_default();
        let status = status(Some(generation), found, addresses.remove(&object).unwrap_or_default());
        statuses.insert(object, DesiredStatus { revision, ..status });
    }
    for (object, found) in &findings {
        let refused =
            found.iter().any(|found| found.single && found.diagnostic.level == Level::Error && found.diagnostic.location.is_none());
        if refused && Kind::ALL.iter().any(|kind| kind.as_str() == object.kind && !kind.is_kubernetes()) {
            // The store may have a former version, which stays in force.
            let former = statuses.get(object).map(|status: &DesiredStatus| (status.addresses.clone(), status.revision));
            let (addresses, revision) = former.clone().unwrap_or((Vec::new(), ObjectRevision::Unknown));
            let mut status = DesiredStatus { revision, ..status(None, found, addresses) };
            for condition in status.conditions.iter_mut().filter(|condition| condition.condition_type == "Accepted" && former.is_some()) {
                condition.message.push_str("\nThe former version of the object stays in force.");
            }
            statuses.insert(object.clone(), status);
        }
    }
    statuses
}

/// A finding, and whether it is about the object alone, so that an error means that it is not used.
struct Found {
    diagnostic: Diagnostic,
    single: bool,
}

fn findings(published: &Published) -> BTreeMap<ObjectRef, Vec<Found>> {
    let mesh = Mesh { store: &published.store, foreign: &Foreign::default(), snapshot: Some(&published.snapshot) };
    let known = if published.store.pods.is_empty() { Needs::Services } else { Needs::Workloads };
    let single = published.store.findings.values().flatten().cloned().map(|diagnostic| Found { diagnostic, single: true });
    let together =
        analysis::analyze(&mesh, known, false).into_iter().chain(xds::diagnostics(&published.snapshot, published.classes.iter()));
    let together = together.map(|diagnostic| Found { diagnostic, single: false });
    let mut all: BTreeMap<ObjectRef, Vec<Found>> = BTreeMap::new();
    for found in single.chain(together) {
        if let Some(object) = found.diagnostic.object.clone() {
            let of_object = all.entry(object).or_default();
            // The same may be known from the pods of a gateway and from the proxies that are connected.
            if !of_object.iter().any(|known| known.diagnostic == found.diagnostic) {
                of_object.push(found);
            }
        }
    }
    all
}

fn status(generation: Option<i64>, findings: &[Found], addresses: Vec<DesiredAddress>) -> DesiredStatus {
    let of = |wanted: &dyn Fn(&Found) -> bool| -> Vec<String> {
        let wanted = findings.iter().filter(|found| found.diagnostic.level != Level::Info && wanted(found));
        wanted.map(|found| said(&found.diagnostic)).collect()
    };
    let refusals = of(&|found| found.single && found.diagnostic.level == Level::Error);
    let unresolved = |found: &Found| UNRESOLVED.iter().find(|(code, _)| *code == found.diagnostic.code).map(|(_, reason)| *reason);
    let lost = of(&|found| unresolved(found).is_some());
    let others = of(&|found| unresolved(found).is_none());
    let accepted = match (refusals.is_empty(), others.is_empty()) {
        (true, true) => condition("Accepted", true, "Accepted", String::new()),
        (true, false) => condition("Accepted", true, "AcceptedWithFindings", others.join("\n")),
        (false, _) => condition("Accepted", false, "Refused", refusals.join("\n")),
    };
    let resolved = match lost.is_empty() {
        true => condition("ResolvedRefs", true, "ResolvedRefs", String::new()),
        false => condition("ResolvedRefs", false, findings.iter().find_map(unresolved).unwrap_or("NotFound"), lost.join("\n")),
    };
    let programmed = match accepted.holds {
        true => condition("Programmed", true, "Programmed", String::new()),
        false => condition("Programmed", false, "Refused", "What is refused reaches no proxy.".into()),
    };
    let messages = findings.iter().map(|found| &found.diagnostic).map(message).collect();
    let conditions = vec![accepted, resolved, programmed];
    DesiredStatus { generation, conditions, messages, addresses, ..DesiredStatus::default() }
}

/// The object is the one whose status this is, so that only the field is named.
fn said(diagnostic: &Diagnostic) -> String {
    match diagnostic.field.as_str() {
        "" => diagnostic.message.clone(),
        field => format!("{field}: {}", diagnostic.message),
    }
}

fn message(diagnostic: &Diagnostic) -> DesiredMessage {
    let known = analysis::codes().iter().find(|code| code.code == diagnostic.code);
    let level = match diagnostic.level {
        Level::Error => "ERROR",
        Level::Warning => "WARNING",
        Level::Info => "INFO",
    };
    DesiredMessage { code: diagnostic.code, level, name: known.map_or(diagnostic.code, |code| code.name).to_owned() }
}

/// The automatic addresses of the hosts of each ServiceEntry.
fn addresses(snapshot: &Snapshot, store: &Store) -> BTreeMap<ObjectRef, Vec<DesiredAddress>> {
    let cx = &mut incremental::Cx::default();
    let mut all = BTreeMap::new();
    for (key, entry) in store.service_entries.iter(cx) {
        let mut found = Vec::new();
        for host in &entry.spec.hosts {
            let service = registry::ServiceKey { hostname: base::Hostname::new(host), namespace: key.namespace.clone() };
            let cx = &mut incremental::Cx::default();
            let allocated = snapshot.services.get(cx, &service).map(|service| service.auto_addresses.clone()).unwrap_or_default();
            found.extend(allocated.into_iter().map(|address| DesiredAddress { value: address.to_string(), host: host.clone() }));
        }
        if !found.is_empty() {
            all.insert(ObjectRef { kind: Kind::ServiceEntry.as_str(), namespace: key.namespace.clone(), name: key.name.clone() }, found);
        }
    }
    all
}
