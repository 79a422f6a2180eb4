//! Everything that analyzers may look at.

use crate::foreign::Foreign;
use base::{Labels, Namespace};
use config::{Key, Store};
use incremental::{Cx, Table};
use istio_api::{Object, Resource};
use model::Snapshot;
use std::sync::Arc;

/// One cut of the mesh.
#[derive(Clone, Copy)]
pub struct Mesh<'a> {
    /// The objects of the kinds that the control plane reads.
    pub store: &'a Store,
    /// The objects of other kinds.
    pub foreign: &'a Foreign,
    /// What the objects mean together; without it, only Istio's own findings are made.
    pub snapshot: Option<&'a Snapshot>,
}

/// All objects of a kind, by namespace and name.
pub(crate) fn rows<T: Resource>(table: &Table<Key, Object<T>>) -> impl Iterator<Item = &Arc<Object<T>>> {
    table.iter(&mut Cx::default()).map(|(_, object)| object)
}

impl<'a> Mesh<'a> {
    /// The object of a kind with this name, of whichever cluster comes first.
    pub(crate) fn find<T: Resource>(&self, table: &'a Table<Key, Object<T>>, namespace: &str, name: &str) -> Option<&'a Arc<Object<T>>> {
        let start = Key { namespace: Namespace::new(namespace), name: Arc::from(name), cluster: Default::default() };
        let found = table.range(&mut Cx::default(), start..).next();
        found.filter(|(key, _)| key.namespace.as_str() == namespace && *key.name == *name).map(|(_, object)| object)
    }

    /// The labels of a namespace that is known.
    pub(crate) fn namespace_labels(&self, name: &str) -> Option<&'a Labels> {
        self.find(&self.store.namespaces, "", name).map(|namespace| &namespace.metadata.labels)
    }
}
