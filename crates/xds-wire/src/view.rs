//! Everything that one class of proxies is served, at one revision.

use crate::{ResourceType, Resources};

/// An immutable cut: a connection compares the view that its proxy has acknowledged with the newest one.
#[derive(Clone, Default)]
pub struct View {
    /// The turn that made it; grows with every turn that changed anything for the class.
    pub revision: u64,
    sets: [Resources; ResourceType::ALL.len()],
}

impl View {
    /// A view of the given revision, with nothing in it.
    pub fn new(revision: u64) -> Self {
        Self { revision, ..Self::default() }
    }

    /// The resources of one type.
    pub fn of(&self, kind: ResourceType) -> &Resources {
        let [clusters, endpoints, listeners, routes, secrets, proxy_config] = &self.sets;
        match kind {
            ResourceType::Cluster => clusters,
            ResourceType::Endpoint => endpoints,
            ResourceType::Listener => listeners,
            ResourceType::Route => routes,
            ResourceType::Secret => secrets,
            ResourceType::ProxyConfig => proxy_config,
        }
    }

    /// Replaces the resources of one type.
    pub fn set(&mut self, kind: ResourceType, resources: Resources) {
        let [clusters, endpoints, listeners, routes, secrets, proxy_config] = &mut self.sets;
        match kind {
            ResourceType::Cluster => *clusters = resources,
            ResourceType::Endpoint => *endpoints = resources,
            ResourceType::Listener => *listeners = resources,
            ResourceType::Route => *routes = resources,
            ResourceType::Secret => *secrets = resources,
            ResourceType::ProxyConfig => *proxy_config = resources,
        }
    }
}
