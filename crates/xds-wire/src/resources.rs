//! An ordered set of resources of one type, in two layers, and the difference of two such sets.

use crate::{Encoded, ResourceName};
use imbl::{OrdMap, OrdSet, ordmap::DiffItem};
use std::{collections::BTreeMap, sync::Arc};

/// All resources of one type that a class of proxies may ask for.
///
/// The lower layer is shared by many classes; the overlay of one class adds, replaces or hides (`None`). Cloning is
/// O(1), and so is every lookup in the size of the layers' logarithm.
#[derive(Clone, Default)]
pub struct Resources {
    shared: OrdMap<ResourceName, Arc<Encoded>>,
    overlay: OrdMap<ResourceName, Option<Arc<Encoded>>>,
}

/// What happened to one name between two sets.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Added, or replaced by another content.
    Set(Arc<Encoded>),
    /// No longer there.
    Removed(ResourceName),
}

impl Change {
    /// The name that it is about.
    pub fn name(&self) -> &ResourceName {
        match self {
            Self::Set(resource) => &resource.name,
            Self::Removed(name) => name,
        }
    }
}

impl Resources {
    /// A set without an overlay.
    pub fn new(shared: OrdMap<ResourceName, Arc<Encoded>>) -> Self {
        Self { shared, overlay: OrdMap::new() }
    }

    /// Puts `overlay` over `shared`.
    pub fn layered(shared: OrdMap<ResourceName, Arc<Encoded>>, overlay: OrdMap<ResourceName, Option<Arc<Encoded>>>) -> Self {
        Self { shared, overlay }
    }

    /// The resource of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Encoded>> {
        match self.overlay.get(name) {
            Some(over) => over.as_ref(),
            None => self.shared.get(name),
        }
    }

    /// All resources, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Encoded>> {
        let mut shared = self.shared.iter().peekable();
        let mut overlay = self.overlay.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let over_first = match (shared.peek(), overlay.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => false,
                    (None, Some(_)) => true,
                    (Some((under, _)), Some((over, _))) => over <= under,
                };
                if !over_first {
                    return shared.next().map(|(_, resource)| resource);
                }
                let (name, resource) = overlay.next()?;
                if shared.peek().is_some_and(|(under, _)| *under == name) {
                    shared.next();
                }
                if let Some(resource) = resource {
                    return Some(resource);
                }
            }
        })
    }

    /// The resources of the shared layer whose names begin with `prefix`, by name.
    pub fn beginning_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Encoded>> {
        let rows = self.shared.range::<_, str>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        rows.map(|(_, resource)| resource).take_while(move |resource| resource.name.starts_with(prefix))
    }

    /// The number of resources; walks them.
    pub fn count(&self) -> usize {
        if self.overlay.is_empty() { self.shared.len() } else { self.iter().count() }
    }

    /// The number of rows of the overlay, for the metrics.
    pub fn overlay_rows(&self) -> usize {
        self.overlay.len()
    }

    /// Whether both are the same set without looking at their rows.
    pub fn same(&self, other: &Self) -> bool {
        self.shared.ptr_eq(&other.shared) && (self.overlay.ptr_eq(&other.overlay) || (self.overlay.is_empty() && other.overlay.is_empty()))
    }

    /// Puts a resource into the shared layer; says whether that changed anything.
    pub fn insert(&mut self, resource: Arc<Encoded>) -> bool {
        let same = self.shared.get(&resource.name).is_some_and(|old| Arc::ptr_eq(old, &resource) || **old == *resource);
        if !same {
            self.shared.insert(resource.name.clone(), resource);
        }
        !same
    }

    /// A set of exactly these resources that shares with `self` whatever stays, so that a difference of the two costs
    /// no more than what differs.
    pub fn replaced_by(&self, resources: BTreeMap<ResourceName, Arc<Encoded>>) -> Self {
        let mut next = Self::new(self.shared.clone());
        let gone: Vec<_> = self.shared.keys().filter(|name| !resources.contains_key(*name)).cloned().collect();
        for name in &gone {
            next.shared.remove(name);
        }
        for resource in resources.into_values() {
            next.insert(resource);
        }
        next
    }

    /// These resources with `rows` over them. The overlay shares with that of `previous` whatever stays.
    pub fn under(&self, rows: BTreeMap<ResourceName, Arc<Encoded>>, previous: &Self) -> Self {
        let mut overlay = previous.overlay.clone();
        let gone: Vec<_> = overlay.keys().filter(|name| !rows.contains_key(*name)).cloned().collect();
        for name in &gone {
            overlay.remove(name);
        }
        for (name, row) in rows {
            if !overlay.get(&name).is_some_and(|old| old.as_ref().is_some_and(|old| Arc::ptr_eq(old, &row) || **old == *row)) {
                overlay.insert(name, Some(row));
            }
        }
        Self { shared: self.shared.clone(), overlay }
    }

    /// These resources under the overlay of `previous`.
    pub fn over(&self, previous: &Self) -> Self {
        Self { shared: self.shared.clone(), overlay: previous.overlay.clone() }
    }

    /// These resources with one more in the overlay.
    #[must_use]
    pub fn with(mut self, resource: Arc<Encoded>) -> Self {
        self.overlay.insert(resource.name.clone(), Some(resource));
        self
    }

    /// Takes a resource out of the shared layer.
    pub fn remove(&mut self, name: &str) {
        self.shared.remove(name);
    }

    /// What leads from `self` to `newer`, by name. The cost grows with the number of rows that differ, because
    /// persistent maps skip what they share.
    pub fn diff(&self, newer: &Self) -> Vec<Change> {
        if self.same(newer) {
            return Vec::new();
        }
        let mut touched = OrdSet::new();
        for item in self.shared.diff(&newer.shared) {
            touched.insert(touched_name(item));
        }
        for item in self.overlay.diff(&newer.overlay) {
            touched.insert(touched_name(item));
        }
        let changes = touched.iter().filter_map(|name| match (self.get(name), newer.get(name)) {
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) || old.version == new.version => None,
            (_, Some(new)) => Some(Change::Set(new.clone())),
            (Some(_), None) => Some(Change::Removed(name.clone())),
            (None, None) => None,
        });
        changes.collect()
    }
}

fn touched_name<V>(item: DiffItem<'_, '_, ResourceName, V>) -> ResourceName {
    match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) => name.clone(),
        DiffItem::Update { new: (name, _), .. } => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Form, Part, ResourceType};

    fn resource(name: &str, body: &str) -> Arc<Encoded> {
        Arc::new(Encoded::new(ResourceType::Cluster, name.into(), body.as_bytes(), Arc::from([])))
    }

    fn names(resources: &Resources) -> Vec<String> {
        resources.iter().map(|r| r.name.to_string()).collect()
    }

    #[test]
    fn the_overlay_adds_replaces_and_hides() {
        let shared: OrdMap<_, _> = ["a", "b", "c"].map(|n| (ResourceName::from(n), resource(n, "x"))).into_iter().collect();
        let base = Resources::new(shared.clone());
        let overlay = [("b", None), ("c", Some(resource("c", "y"))), ("d", Some(resource("d", "z")))];
        let class = Resources::layered(shared, overlay.map(|(n, r)| (ResourceName::from(n), r)).into_iter().collect());
        assert_eq!(names(&class), ["a", "c", "d"]);
        let changes = base.diff(&class);
        assert_eq!(changes.iter().map(|c| c.name().to_string()).collect::<Vec<_>>(), ["b", "c", "d"]);
        assert!(matches!(changes[0], Change::Removed(_)));
        assert!(class.diff(&class.clone()).is_empty());
    }

    #[test]
    fn equal_content_is_no_change() {
        let one = Resources::new([(ResourceName::from("a"), resource("a", "x"))].into_iter().collect());
        let two = Resources::new([(ResourceName::from("a"), resource("a", "x"))].into_iter().collect());
        assert!(one.diff(&two).is_empty());
    }

    #[test]
    fn both_protocols_carry_the_same_bytes() {
        use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
        let text = "long enough for a length of two bytes ".repeat(10);
        let parts: Vec<_> = text.split_inclusive(' ').map(|word| Arc::new(Part::new(word.to_string().into(), Arc::from([])))).collect();
        let assembled = Encoded::assembled(ResourceType::Route, "80".into(), (b"start ", parts, b"end"));
        assert_eq!(assembled.body(), format!("start {text}end").as_bytes());
        for one in [&*resource("outbound|80||a", &text), &assembled] {
            let [in_delta, in_sotw] = [Form::Delta, Form::StateOfTheWorld].map(|form| one.bytes(form));
            assert_eq!([in_delta.len(), in_sotw.len()], [one.length(Form::Delta), one.length(Form::StateOfTheWorld)]);
            let delta: DeltaDiscoveryResponse = prost::Message::decode(in_delta).unwrap();
            let sotw: DiscoveryResponse = prost::Message::decode(in_sotw).unwrap();
            assert_eq!(delta.resources[0].name, *one.name);
            assert_eq!(delta.resources[0].version, one.version.to_string());
            assert_eq!(delta.resources[0].resource.as_ref(), sotw.resources.first());
            assert_eq!((&sotw.resources[0].value, one.length(Form::Body)), (&one.body(), one.body().len()));
        }
    }
}
