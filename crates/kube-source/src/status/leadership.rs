//! Whose status this replica writes.

use super::{DesiredStatus, ObjectRevision};
use crate::tags::REVISION;
use kube::api::DynamicObject;
use tokio::sync::watch;

/// What this replica leads in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leadership {
    /// Among the replicas of all revisions: it writes the status of objects that are for all of them.
    pub all_revisions: bool,
    /// Among those of its own revision: it writes the status of that revision's objects.
    pub own_revision: bool,
}

impl Leadership {
    /// Whether there is anything to do.
    pub fn any(self) -> bool {
        self.all_revisions || self.own_revision
    }

    /// Follows two elections.
    pub fn follow(mut all: watch::Receiver<bool>, mut own: watch::Receiver<bool>) -> watch::Receiver<Self> {
        let (out, leadership) = watch::channel(Self::default());
        tokio::spawn(async move {
            loop {
                let now = Self { all_revisions: *all.borrow_and_update(), own_revision: *own.borrow_and_update() };
                out.send_if_modified(|known| std::mem::replace(known, now) != now);
                let changed = tokio::select! {
                    changed = all.changed() => changed,
                    changed = own.changed() => changed,
                    () = out.closed() => return,
                };
                if changed.is_err() {
                    // Whoever does not take part any more does not lead.
                    out.send_replace(Self::default());
                    return;
                }
            }
        });
        leadership
    }

    /// Whether the status may be ours to write; for certain it is only known of objects that have been read.
    pub(super) fn may_write(self, status: &DesiredStatus) -> bool {
        match status.revision {
            ObjectRevision::All => self.all_revisions,
            ObjectRevision::Ours => self.own_revision,
            ObjectRevision::Unknown => self.any(),
        }
    }

    /// Whether the status of an object as it is stored is ours to write.
    pub(super) fn writes(self, object: &DynamicObject, own: &str) -> bool {
        let revision = object.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION)).filter(|revision| !revision.is_empty());
        match revision {
            None => self.all_revisions,
            Some(revision) => self.own_revision && revision == own,
        }
    }
}
