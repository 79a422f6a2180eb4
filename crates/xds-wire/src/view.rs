//! Everything that one class of proxies is served, at one revision.

use crate::{Encoded, ResourceName, ResourceType, Resources, Version};
use std::{collections::BTreeMap, sync::Arc};

/// An immutable cut: a connection compares the view that its proxy has acknowledged with the newest one.
#[derive(Clone, Default)]
pub struct View {
    /// The turn that made it; grows with every turn that changed anything for the class.
    pub revision: u64,
    sets: [Resources; ResourceType::ALL.len()],
    holds: BTreeMap<(ResourceType, ResourceName), Hold>,
    bare_routes: Option<Resources>,
}

/// A content that a proxy has refused and none has accepted: whoever does not have it gets the last one that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// What was refused; the view's set still has it.
    pub refused: Version,
    /// What is served in its place.
    pub accepted: Arc<Encoded>,
}

impl View {
    /// A view of the given revision, with nothing in it.
    pub fn new(revision: u64) -> Self {
        Self { revision, ..Self::default() }
    }

    /// The resources of one type.
    pub fn of(&self, kind: ResourceType) -> &Resources {
        let [clusters, endpoints, listeners, routes, virtual_hosts, secrets, proxy_config] = &self.sets;
        match kind {
            ResourceType::Cluster => clusters,
            ResourceType::Endpoint => endpoints,
            ResourceType::Listener => listeners,
            ResourceType::Route => routes,
            ResourceType::VirtualHost => virtual_hosts,
            ResourceType::Secret => secrets,
            ResourceType::ProxyConfig => proxy_config,
        }
    }

    /// The route configurations for proxies that get virtual hosts one by one; `None` if nobody is to get them so.
    pub fn bare_routes(&self) -> Option<&Resources> {
        self.bare_routes.as_ref()
    }

    /// Lets proxies that can get virtual hosts one by one.
    pub fn set_bare_routes(&mut self, routes: Option<Resources>) {
        self.bare_routes = routes;
    }

    /// What is held back.
    pub fn holds(&self) -> &BTreeMap<(ResourceType, ResourceName), Hold> {
        &self.holds
    }

    /// The same, for one type.
    pub fn holds_of(&self, kind: ResourceType) -> impl Iterator<Item = (&ResourceName, &Hold)> {
        self.holds.iter().filter(move |((held, _), _)| *held == kind).map(|((_, name), hold)| (name, hold))
    }

    /// The same view with other contents held back.
    #[must_use]
    pub fn holding(&self, revision: u64, holds: BTreeMap<(ResourceType, ResourceName), Hold>) -> Self {
        Self { revision, holds, ..self.clone() }
    }

    /// The resources of one type for a proxy that has none of what is held back.
    pub fn cautious(&self, kind: ResourceType) -> Resources {
        self.holds_of(kind).fold(self.of(kind).clone(), |resources, (_, hold)| resources.with(hold.accepted.clone()))
    }

    /// Replaces the resources of one type.
    pub fn set(&mut self, kind: ResourceType, resources: Resources) {
        let [clusters, endpoints, listeners, routes, virtual_hosts, secrets, proxy_config] = &mut self.sets;
        match kind {
            ResourceType::Cluster => *clusters = resources,
            ResourceType::Endpoint => *endpoints = resources,
            ResourceType::Listener => *listeners = resources,
            ResourceType::Route => *routes = resources,
            ResourceType::VirtualHost => *virtual_hosts = resources,
            ResourceType::Secret => *secrets = resources,
            ResourceType::ProxyConfig => *proxy_config = resources,
        }
    }
}
