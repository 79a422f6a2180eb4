//! The objects of one collection: from notices to events.
//!
//! Every collection has a task of its own, from the socket to the channel of events, so that no kind waits for another:
//! an EndpointSlice passes while ten thousand Pods are being listed.

use crate::{
    decode::{Decoded, Name, SharedLabels, decode, name_of},
    metrics::{Happened, Metrics},
    scope::{Namespaces, Scope},
    secrets::Wanted,
    watch::Notice,
};
use base::{ClusterId, Diagnostic};
use bytes::Bytes;
use config::{Change, Event};
use istio_api::{AnyObject, Kind};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{mpsc, watch};

/// What a collection's task shares with the others.
#[derive(Clone)]
pub struct Shared {
    /// The cluster that events name.
    pub cluster: ClusterId,
    /// Where they go.
    pub out: mpsc::Sender<Vec<Event>>,
    /// Which objects count.
    pub scope: watch::Receiver<Option<Arc<Scope>>>,
    /// The labels of all namespaces; Namespaces tell them here.
    pub namespaces: watch::Sender<Namespaces>,
    /// The Secrets that objects name.
    pub wanted: Wanted,
    /// What is counted.
    pub metrics: Metrics,
}

/// An object as it was seen last.
#[derive(Default)]
struct Kept {
    /// Its last version without an error.
    object: Option<AnyObject>,
    /// Whether it has been sent.
    sent: bool,
    /// What was said of it.
    diagnostics: Vec<Diagnostic>,
}

/// One collection.
pub struct Objects {
    kind: Kind,
    shared: Shared,
    kept: BTreeMap<Name, Kept>,
    /// The objects of a list that is not complete.
    listing: Option<BTreeMap<Name, Kept>>,
    labels: SharedLabels,
    /// Events that are still to be sent.
    events: Vec<Event>,
    listed: bool,
}

/// Held until a collection has been listed once; whoever waits, waits until nobody holds one.
pub type Pending = Vec<mpsc::Sender<()>>;

impl Objects {
    /// No objects yet.
    pub fn new(kind: Kind, shared: Shared) -> Self {
        Self { kind, shared, kept: BTreeMap::new(), listing: None, labels: SharedLabels::default(), events: Vec::new(), listed: false }
    }

    /// Sends events until nobody listens or the notices end; `pending` is let go when the first list has been sent. When
    /// the notices end (the kind itself is gone), so do the objects.
    pub async fn run(mut self, mut notices: mpsc::Receiver<Vec<Notice>>, mut pending: Pending) {
        let mut scope = self.shared.scope.clone();
        loop {
            let flowing = tokio::select! {
                // Nothing is let through before it is known what counts; namespaces and nodes always do.
                batch = notices.recv(), if !self.kind.namespaced() || scope.borrow().is_some() => match batch {
                    Some(batch) => {
                        batch.into_iter().for_each(|notice| self.take(notice));
                        true
                    }
                    None => false,
                },
                changed = scope.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.rescope();
                    true
                }
            };
            if !flowing {
                self.forget();
            }
            if self.send().await.is_err() || !flowing {
                return;
            }
            if self.listed {
                pending.clear();
            }
        }
    }

    async fn send(&mut self) -> Result<(), mpsc::error::SendError<Vec<Event>>> {
        if self.kind == Kind::Namespace && self.listed {
            self.tell_namespaces();
        }
        match std::mem::take(&mut self.events) {
            events if events.is_empty() => Ok(()),
            events => self.shared.out.send(events).await,
        }
    }

    fn take(&mut self, notice: Notice) {
        match notice {
            Notice::ListBegins => self.listing = Some(BTreeMap::new()),
            Notice::Listed(text) => {
                if let Some((name, kept)) = self.read(&text) {
                    self.listing.get_or_insert_default().insert(name, kept);
                }
            }
            Notice::ListEnds => self.swap(),
            Notice::Changed(text) => {
                if let Some((name, kept)) = self.read(&text) {
                    self.replace(name, kept);
                }
            }
            Notice::Deleted(text) => {
                if let Some(name) = name_of(&text) {
                    self.remove(&name);
                }
            }
        }
    }

    /// Decodes an object. One with an error leaves its former good version in force.
    fn read(&mut self, text: &Bytes) -> Option<(Name, Kept)> {
        let Some(Decoded { name, object, diagnostics }) = decode(self.kind, text) else {
            tracing::warn!(kind = %self.kind, "skipped: an object without a name");
            return None;
        };
        let former = self.kept.get(&name).and_then(|kept| kept.object.as_ref());
        let object = match object {
            // The same once more: the former is shared with the store already.
            Some(object) if former == Some(&object) => former.cloned(),
            Some(mut object) => {
                self.labels.share(&mut object);
                Some(object)
            }
            None => former.cloned(),
        };
        Some((name, Kept { object, sent: false, diagnostics }))
    }

    /// Puts the list in place of what was known before.
    fn swap(&mut self) {
        let listed = self.listing.take().unwrap_or_default();
        let gone: Vec<Name> = self.kept.keys().filter(|name| !listed.contains_key(name)).cloned().collect();
        gone.iter().for_each(|name| self.remove(name));
        for (name, kept) in listed {
            self.replace(name, kept);
        }
        // A map that was filled in the order of its keys is half empty; one that is built at once is full.
        self.kept = std::mem::take(&mut self.kept).into_iter().collect();
        self.listed = true;
    }

    fn replace(&mut self, name: Name, mut new: Kept) {
        let old = self.kept.remove(&name).unwrap_or_default();
        let counts = new.object.as_ref().is_some_and(|object| self.counts(object));
        if let (true, Some(object)) = (counts, &new.object) {
            if !old.sent || old.object.as_ref() != Some(object) {
                self.count(if old.sent { Happened::Update } else { Happened::Add });
                self.shared.wanted.note(self.kind, &name, Some(object));
                self.event(Change::Set(object.clone()));
            }
        } else if old.sent {
            self.withdraw(&name);
        }
        new.sent = counts;
        if new.diagnostics != old.diagnostics {
            self.say(&name, new.diagnostics.clone());
        }
        self.kept.insert(name, new);
    }

    fn remove(&mut self, name: &Name) {
        let Some(old) = self.kept.remove(name) else { return };
        if old.sent {
            self.withdraw(name);
        }
        if !old.diagnostics.is_empty() {
            self.say(name, Vec::new());
        }
    }

    fn withdraw(&mut self, name: &Name) {
        self.count(Happened::Delete);
        self.shared.wanted.note(self.kind, name, None);
        self.event(Change::Delete { kind: self.kind, namespace: name.namespace.clone(), name: name.name.clone() });
    }

    /// The kind is gone, and all of its objects.
    fn forget(&mut self) {
        self.listing = None;
        let names: Vec<Name> = self.kept.keys().cloned().collect();
        names.iter().for_each(|name| self.remove(name));
    }

    /// Sends and withdraws what the new scope has moved.
    fn rescope(&mut self) {
        for (name, kept) in std::mem::take(&mut self.kept) {
            let same = kept.object.as_ref().map(|object| self.counts(object)).unwrap_or_default() == kept.sent;
            if same {
                self.kept.insert(name, kept);
            } else {
                let Kept { object, diagnostics, .. } = kept;
                let before = Kept { object: object.clone(), sent: kept.sent, diagnostics: diagnostics.clone() };
                self.kept.insert(name.clone(), before);
                self.replace(name, Kept { object, sent: false, diagnostics });
            }
        }
    }

    fn counts(&self, object: &AnyObject) -> bool {
        !self.kind.namespaced() || self.shared.scope.borrow().as_ref().is_some_and(|scope| scope.includes(object))
    }

    fn count(&self, happened: Happened) {
        self.shared.metrics.event(self.kind, happened);
    }

    fn event(&mut self, change: Change) {
        self.events.push(Event { cluster: self.shared.cluster.clone(), change });
    }

    /// Diagnostics of an object stand under its name, as those of a file stand under its path.
    fn say(&mut self, name: &Name, diagnostics: Vec<Diagnostic>) {
        let reference = base::ObjectRef { kind: self.kind.as_str(), namespace: name.namespace.clone(), name: name.name.clone() };
        for diagnostic in &diagnostics {
            tracing::warn!(cluster = %self.shared.cluster, "{diagnostic}");
        }
        self.event(Change::Findings { source: format!("{}: {reference}", self.shared.cluster).into(), diagnostics });
    }

    fn tell_namespaces(&self) {
        let labels = self.kept.iter().filter_map(|(name, kept)| {
            let object = kept.object.as_ref()?;
            Some((base::Namespace::new(&*name.name), object.metadata().labels.clone()))
        });
        let labels: BTreeMap<_, _> = labels.collect();
        self.shared.namespaces.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&labels);
            if changed {
                *known = Some(labels);
            }
            changed
        });
    }
}
