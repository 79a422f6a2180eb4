//! The typed rows of everything that the sources have said: one table per kind.

use crate::{Change, Event, Features, JwksSource};
use base::{ClusterId, Diagnostic, Namespace};
use incremental::{Changed, Table};
use istio_api::mesh::{MeshConfig, MeshNetworks};
use istio_api::{AnyObject, Kind, Object};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// The position of an object in the table of its kind. Ordered by namespace first, so that the objects of a namespace
/// are one range.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Empty for a kind without namespaces.
    pub namespace: Namespace,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// The cluster whose source has it.
    pub cluster: ClusterId,
}

macro_rules! store {
    ($(
        $kind:ident {
            spec: $spec:ty, status: $status:ty, field: $field:ident, layout: $layout:ident, group: $group:literal,
            versions: [$($version:literal),*], plural: $plural:literal, short_names: [$($short_name:literal),*],
            namespaced: $namespaced:literal, kubernetes: $kubernetes:literal
        }
    )+) => {
        /// All objects, and the mesh-wide settings.
        #[derive(Clone, Default)]
        pub struct Store {
            $(
                #[doc = concat!("`", $plural, "`")]
                pub $field: Table<Key, Object<$spec>>,
            )+
            /// The mesh-wide settings.
            pub mesh: Arc<MeshConfig>,
            /// The networks.
            pub networks: Arc<MeshNetworks>,
            /// What the process was started with.
            pub features: Arc<Features>,
            /// The keys of issuers of tokens that were fetched.
            pub jwks: Arc<BTreeMap<JwksSource, Arc<str>>>,
            /// The addresses of names that were looked up.
            pub addresses: Arc<BTreeMap<Arc<str>, Arc<[IpAddr]>>>,
            /// What is wrong with the sources' texts, by file.
            pub findings: BTreeMap<Arc<str>, Vec<Diagnostic>>,
        }

        /// The keys that one turn changed, by kind.
        #[derive(Default, Debug)]
        pub struct StoreChanges {
            $(
                #[doc = concat!("`", $plural, "`")]
                pub $field: Changed<Key>,
            )+
            /// The mesh-wide settings or the networks.
            pub mesh: bool,
            /// The keys of issuers of tokens.
            pub jwks: bool,
            /// The addresses of names.
            pub addresses: bool,
        }

        impl StoreChanges {
            /// The kinds of which something changed.
            pub fn kinds(&self) -> Vec<Kind> {
                let mut kinds = Vec::new();
                $( if !self.$field.is_empty() { kinds.push(Kind::$kind); } )+
                kinds
            }
        }

        impl Store {
            fn set(&mut self, changes: &mut StoreChanges, key: Key, object: AnyObject) {
                match object {
                    $( AnyObject::$kind(object) => note(&mut self.$field, &mut changes.$field, key, Some(object)), )+
                }
            }

            fn delete(&mut self, changes: &mut StoreChanges, kind: Kind, key: Key) {
                match kind {
                    $( Kind::$kind => note(&mut self.$field, &mut changes.$field, key, None), )+
                }
            }

            /// Every object of every kind, kinds in the order of their table.
            pub fn objects(&self) -> Vec<AnyObject> {
                let cx = &mut incremental::Cx::default();
                let mut all = Vec::new();
                $( all.extend(self.$field.iter(cx).map(|(_, object)| AnyObject::$kind(object.clone()))); )+
                all
            }
        }
    };
}

istio_api::for_each_kind!(store);

fn note<T: istio_api::Resource>(table: &mut Table<Key, Object<T>>, changed: &mut Changed<Key>, key: Key, object: Option<Arc<Object<T>>>) {
    if table.set_shared(key.clone(), object) {
        changed.0.insert(key);
    }
}

impl Store {
    /// Applies a batch and says which rows it changed; writing an equal object changes nothing.
    pub fn apply(&mut self, batch: Vec<Event>) -> StoreChanges {
        let mut changes = StoreChanges::default();
        for Event { cluster, change } in batch {
            match change {
                Change::Set(object) => {
                    let metadata = object.metadata();
                    let key = Key { namespace: metadata.namespace.clone(), name: metadata.name.clone(), cluster };
                    self.set(&mut changes, key, object);
                }
                Change::Delete { kind, namespace, name } => self.delete(&mut changes, kind, Key { namespace, name, cluster }),
                Change::Mesh(mesh) => {
                    changes.mesh |= *self.mesh != *mesh;
                    self.mesh = mesh;
                }
                Change::Networks(networks) => {
                    changes.mesh |= *self.networks != *networks;
                    self.networks = networks;
                }
                Change::Jwks { source, keys } => {
                    if self.jwks.get(&source) != keys.as_ref() {
                        changes.jwks = true;
                        let all = Arc::make_mut(&mut self.jwks);
                        match keys {
                            Some(keys) => all.insert(source, keys),
                            None => all.remove(&source),
                        };
                    }
                }
                Change::Addresses { name, addresses } => {
                    let known = self.addresses.get(&name).map(|known| &**known).unwrap_or_default();
                    if *known != *addresses {
                        changes.addresses = true;
                        let all = Arc::make_mut(&mut self.addresses);
                        if addresses.is_empty() {
                            all.remove(&name);
                        } else {
                            all.insert(name, addresses);
                        }
                    }
                }
                Change::Findings { source, diagnostics } if diagnostics.is_empty() => {
                    self.findings.remove(&source);
                }
                Change::Findings { source, diagnostics } => {
                    self.findings.insert(source, diagnostics);
                }
                Change::Synced => {}
            }
        }
        changes
    }
}
