//! What a client holds of one type, and what it lacks of the newest set.

use crate::{nack::Carried, subscription::Interest};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use xds_wire::{Change, Encoded, Form, ResourceName, Resources, Version};

/// What a client holds, as far as it was sent: a snapshot of the whole type (of which the client has what its
/// subscription covers), and the names for which it has something else.
#[derive(Default)]
pub(crate) struct Replica {
    /// `None`: nothing but the exceptions.
    snapshot: Option<Resources>,
    exceptions: BTreeMap<ResourceName, Exception>,
}

/// How a name differs from the snapshot.
#[derive(Clone, Debug)]
pub(crate) enum Exception {
    /// The client waits for an answer, even if it is that nothing exists.
    Owed,
    /// To be sent although it has not changed: Envoy warms a changed cluster until its endpoints come again.
    Resend,
    /// The client has this version: it said so, it was answered ahead of others, or the removal is held back.
    Holds(Version, Option<Arc<Encoded>>),
    /// The client was told that nothing exists.
    Nothing,
    /// The client has refused this version and has an older one or none.
    Refused(Version),
    /// It was in a refused response but not at fault: the client may have any version. Goes with the next response.
    Uncertain,
    /// The client may have any version; the newest is due.
    Stale,
}

/// One name for which the client lacks the newest state.
#[derive(Debug)]
pub(crate) struct Item {
    pub name: ResourceName,
    /// `None` is a removal.
    pub resource: Option<Arc<Encoded>>,
    /// The client waits for it.
    pub answer: bool,
    /// The content is new to the client.
    pub fresh: bool,
    /// The client has nothing of that name.
    pub add: bool,
}

/// What the client lacks, by name.
#[derive(Default, Debug)]
pub(crate) struct Plan {
    pub items: Vec<Item>,
    /// Something in it is a reason to send; the rest only goes along.
    pub due: bool,
}

impl Plan {
    /// The client waits for something in it.
    pub fn has_answers(&self) -> bool {
        self.items.iter().any(|item| item.answer)
    }

    /// It brings something that later types may refer to.
    pub fn has_additions(&self) -> bool {
        self.items.iter().any(|item| item.add)
    }

    /// It takes something away that others may refer to.
    pub fn has_removals(&self) -> bool {
        self.items.iter().any(Item::is_removal)
    }

    /// The bytes of its resources.
    pub fn size(&self) -> usize {
        self.items.iter().filter_map(|item| item.resource.as_ref()).map(|r| r.length(Form::Delta)).sum()
    }
}

impl Item {
    /// A removal that is nobody's answer.
    pub fn is_removal(&self) -> bool {
        self.resource.is_none() && !self.answer
    }
}

impl Replica {
    /// The client wants all resources and has nothing but the exceptions.
    pub fn forget(&mut self) {
        self.snapshot = None;
    }

    /// The client has all that it wants of `newest`, but for the exceptions.
    pub fn start_from(&mut self, newest: Resources) {
        self.snapshot = Some(newest);
    }

    /// Records how a name differs.
    pub fn except(&mut self, name: ResourceName, exception: Exception) {
        self.exceptions.insert(name, exception);
    }

    /// The client waits for an answer about this name.
    pub fn owe(&mut self, name: ResourceName) {
        self.exceptions.insert(name, Exception::Owed);
    }

    /// The client no longer wants this name.
    pub fn drop_name(&mut self, name: &str) {
        self.exceptions.remove(name);
    }

    /// Sends an unchanged resource again.
    pub fn resend(&mut self, name: &ResourceName) {
        self.exceptions.entry(name.clone()).or_insert(Exception::Resend);
    }

    /// Whether the client was sent this very content, or says that it has it, and has not refused it.
    pub fn has(&self, name: &str, version: Version) -> bool {
        match self.exceptions.get(name) {
            Some(Exception::Holds(held, _)) => *held == version,
            Some(Exception::Resend) | None => {
                self.snapshot.as_ref().and_then(|snapshot| snapshot.get(name)).is_some_and(|resource| resource.version == version)
            }
            Some(_) => false,
        }
    }

    /// Whether the client has refused something that is still the newest of its name.
    pub fn has_refused(&self) -> bool {
        self.exceptions.values().any(|exception| matches!(exception, Exception::Refused(_)))
    }

    /// What leads from here to `newest`, within `interest`, by name.
    pub fn plan(&self, interest: &Interest, newest: &Resources) -> Plan {
        let mut plan = Plan::default();
        match &self.snapshot {
            Some(snapshot) => self.plan_changes(snapshot, interest, newest, &mut plan),
            None if interest.wildcard => self.plan_all(newest, &mut plan),
            None => {}
        }
        let ordered = self.exceptions.is_empty() || plan.items.is_empty();
        for (name, exception) in &self.exceptions {
            if interest.covers(name) {
                self.plan_exception(name, exception, newest, &mut plan);
            }
        }
        if !ordered {
            plan.items.sort_by(|a, b| a.name.cmp(&b.name));
        }
        plan
    }

    fn plan_all(&self, newest: &Resources, plan: &mut Plan) {
        for resource in newest.iter().filter(|resource| !self.exceptions.contains_key(&resource.name)) {
            plan.push(&resource.name, Some(resource), true);
        }
    }

    fn plan_changes(&self, snapshot: &Resources, interest: &Interest, newest: &Resources, plan: &mut Plan) {
        for change in snapshot.diff(newest) {
            let name = change.name();
            if !interest.covers(name) || self.exceptions.contains_key(name) {
                continue;
            }
            match &change {
                Change::Set(resource) => plan.push(name, Some(resource), snapshot.get(name).is_none()),
                Change::Removed(name) => plan.push(name, None, false),
            }
        }
    }

    fn plan_exception(&self, name: &ResourceName, exception: &Exception, newest: &Resources, plan: &mut Plan) {
        let resource = newest.get(name);
        let version = resource.map(|r| r.version);
        match exception {
            Exception::Owed => plan.answer(name, resource, true, true),
            Exception::Resend => {
                if let Some(resource) = resource {
                    let before = self.snapshot.as_ref().and_then(|s| s.get(name));
                    let fresh = before.is_none_or(|r| r.version != resource.version);
                    plan.answer(name, Some(resource), fresh, before.is_none());
                }
            }
            Exception::Holds(held, _) | Exception::Refused(held) if version == Some(*held) => {}
            Exception::Holds(..) | Exception::Refused(_) | Exception::Stale => plan.push(name, resource, false),
            Exception::Nothing => {
                if resource.is_some() {
                    plan.push(name, resource, true);
                }
            }
            Exception::Uncertain => {
                let due = plan.due;
                plan.push(name, resource, false);
                plan.due = due;
            }
        }
    }

    /// The client is sent all of `plan`; removals only if `with_removals`.
    pub fn sent_all(&mut self, plan: &Plan, newest: &Resources, with_removals: bool) {
        let mut kept = BTreeMap::new();
        for (name, exception) in &self.exceptions {
            if let Exception::Refused(version) = exception
                && newest.get(name).is_some_and(|r| r.version == *version)
            {
                kept.insert(name.clone(), exception.clone());
            }
        }
        if !with_removals {
            for item in plan.items.iter().filter(|item| item.is_removal()) {
                kept.insert(item.name.clone(), self.held_back(&item.name));
            }
        }
        self.snapshot = Some(newest.clone());
        self.exceptions = kept;
    }

    /// What stands for a removal that is held back.
    fn held_back(&self, name: &str) -> Exception {
        match self.exceptions.get(name) {
            Some(Exception::Holds(version, body)) => Exception::Holds(*version, body.clone()),
            Some(_) => Exception::Stale,
            None => match self.snapshot.as_ref().and_then(|s| s.get(name)) {
                Some(resource) => Exception::Holds(resource.version, Some(resource.clone())),
                None => Exception::Stale,
            },
        }
    }

    /// The client is sent only the answers of `plan`; the rest waits.
    pub fn sent_answers(&mut self, plan: &Plan) {
        for item in plan.items.iter().filter(|item| item.answer) {
            let before = self.snapshot.as_ref().and_then(|s| s.get(&item.name)).map(|r| r.version);
            if before == item.resource.as_ref().map(|r| r.version) && self.snapshot.is_some() {
                self.exceptions.remove(&item.name);
                continue;
            }
            let exception = match &item.resource {
                Some(resource) => Exception::Holds(resource.version, Some(resource.clone())),
                None => Exception::Nothing,
            };
            self.exceptions.insert(item.name.clone(), exception);
        }
    }

    /// Nothing is lacking: the next difference starts from here.
    pub fn rest(&mut self, newest: &Resources) {
        if self.exceptions.is_empty() && self.snapshot.is_some() {
            self.snapshot = Some(newest.clone());
        }
    }

    /// The client refuses a response that carried these; `at_fault` are the ones that its message is about.
    pub fn refused(&mut self, carried: &[Carried], removed: &[ResourceName], at_fault: &[Arc<Encoded>]) {
        let at_fault: BTreeSet<&str> = at_fault.iter().map(|resource| &*resource.name).collect();
        for item in carried {
            let resource = &item.resource;
            let exception = if at_fault.contains(&*resource.name) { Exception::Refused(resource.version) } else { Exception::Uncertain };
            match self.exceptions.get(&resource.name) {
                Some(Exception::Holds(version, _)) if *version == resource.version => {}
                Some(_) => continue,
                None => {}
            }
            self.exceptions.insert(resource.name.clone(), exception);
        }
        for name in removed {
            self.exceptions.entry(name.clone()).or_insert(Exception::Uncertain);
        }
    }

    /// The client refuses a response that carried these, and it is not known for which of them: all are due again.
    pub fn try_again(&mut self, carried: &[Carried], removed: &[ResourceName]) {
        for name in carried.iter().map(|item| &item.resource.name).chain(removed) {
            match self.exceptions.get(name) {
                Some(Exception::Holds(..)) | None => drop(self.exceptions.insert(name.clone(), Exception::Stale)),
                Some(_) => {}
            }
        }
    }

    /// Resources that are gone but that the client must keep for now, by name; for state-of-the-world, where absence
    /// removes.
    pub fn held<'a>(&'a self, newest: &'a Resources) -> impl Iterator<Item = &'a Arc<Encoded>> {
        self.exceptions.iter().filter_map(|(name, exception)| match exception {
            Exception::Holds(_, Some(resource)) if newest.get(name).is_none() => Some(resource),
            _ => None,
        })
    }
}

impl Plan {
    fn push(&mut self, name: &ResourceName, resource: Option<&Arc<Encoded>>, add: bool) {
        self.due = true;
        let add = add && resource.is_some();
        self.items.push(Item { name: name.clone(), resource: resource.cloned(), answer: false, fresh: true, add });
    }

    fn answer(&mut self, name: &ResourceName, resource: Option<&Arc<Encoded>>, fresh: bool, add: bool) {
        self.due = true;
        let add = add && resource.is_some();
        self.items.push(Item { name: name.clone(), resource: resource.cloned(), answer: true, fresh, add });
    }
}
