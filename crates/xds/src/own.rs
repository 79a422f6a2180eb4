//! What a class shares with no other: its inbound side and its listeners, or everything of a gateway's servers.

use crate::class::ClassKey;
use crate::delta::Delta;
use crate::generate::{Built, Generator};
use crate::part::Sight;
use crate::resolve::{self, Scope, View as ClassView};
use base::Hostname;
use incremental::Cell;
use model::{MESH_GATEWAY, MergedGateway, Snapshot};
use registry::ServiceTarget;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use xds_wire::{Encoded, ResourceName, ResourceType};

/// Resources that were made together, with what they depend on.
#[derive(Default)]
struct Group {
    made: bool,
    resources: Vec<(ResourceType, Arc<Encoded>)>,
    reads: Box<[Cell]>,
    /// The hosts whose rules for TCP and TLS were looked at.
    ruled: BTreeSet<Hostname>,
}

/// The own resources of a class.
#[derive(Default)]
pub struct Own {
    inbound: Group,
    outbound: Group,
}

impl Group {
    /// Whether they must be made again, whatever they are.
    fn reached(&self, delta: &Delta) -> bool {
        !self.made
            || delta.settings
            || delta.policies
            || delta.touched.reaches(&self.reads)
            || self.ruled.iter().any(|host| delta.rules_about(host))
    }

    fn replace(&mut self, view: &ClassView<'_>, resources: Vec<(ResourceType, Arc<Encoded>)>) {
        *self = Self { made: true, resources, reads: view.reads.take(), ruled: view.ruled.take() };
    }
}

impl Own {
    /// Those of a type, by name. Names are unique: the first resource of a name stays.
    pub fn rows(&self, kind: ResourceType) -> BTreeMap<ResourceName, Arc<Encoded>> {
        let mut out = BTreeMap::new();
        for (_, resource) in self.outbound.resources.iter().chain(&self.inbound.resources).filter(|(own, _)| *own == kind) {
            out.entry(resource.name.clone()).or_insert_with(|| resource.clone());
        }
        out
    }

    /// Makes what `delta` reaches; whether that was anything.
    pub fn advance(&mut self, generator: &mut Generator, snapshot: &Snapshot, key: &ClassKey, sight: &Sight, delta: &Delta) -> bool {
        match &sight.scope {
            Some(scope) => self.advance_sidecar(generator, &ClassView::new(snapshot, key, scope), sight.services, delta),
            None => self.advance_router(generator, snapshot, key, delta),
        }
    }

    fn advance_sidecar(&mut self, generator: &mut Generator, view: &ClassView<'_>, services: bool, delta: &Delta) -> bool {
        let Scope::Sidecar(scope) = view.scope else { return false };
        let (inbound, outbound) = (self.inbound.reached(delta), services || self.outbound.reached(delta));
        if inbound {
            let clusters = generator.all(ResourceType::Cluster, resolve::inbound::clusters(view));
            let listeners = generator.all(ResourceType::Listener, resolve::inbound::listeners(view));
            self.inbound.replace(view, clusters.into_iter().chain(listeners).collect());
        }
        if outbound {
            let listeners = generator.all(ResourceType::Listener, resolve::outbound::listeners(view, scope));
            self.outbound.replace(view, listeners);
        }
        inbound || outbound
    }

    /// A gateway looks at every service and at every rule that is bound to a gateway.
    fn advance_router(&mut self, generator: &mut Generator, snapshot: &Snapshot, key: &ClassKey, delta: &Delta) -> bool {
        let bound = |gateways: &BTreeSet<String>| gateways.iter().any(|name| name != MESH_GATEWAY);
        if self.outbound.made && !delta.services && !self.outbound.reached(delta) && !delta.rules.iter().any(|vs| bound(&vs.gateways)) {
            return false;
        }
        let gateway = MergedGateway::build(snapshot, &key.namespace, &key.labels, &targets(key));
        let scope = Scope::Router(gateway);
        let view = ClassView::new(snapshot, key, &scope);
        let Scope::Router(gateway) = &scope else { return false };
        let mut resources = generator.all(ResourceType::Route, resolve::gateway::routes(&view, gateway));
        resources.extend(generator.all(ResourceType::Listener, resolve::gateway::listeners(&view, gateway)));
        resources.extend(generator.all(ResourceType::Secret, resolve::secret::secrets(&view, gateway)));
        self.outbound.replace(&view, resources);
        true
    }
}

impl Generator {
    fn all(&mut self, kind: ResourceType, built: Vec<Built>) -> Vec<(ResourceType, Arc<Encoded>)> {
        if kind == ResourceType::Listener {
            self.listener_rows += built.len() as u64;
        }
        built.into_iter().map(|(name, body, origins)| (kind, self.interner.encode(kind, &name, &body, origins))).collect()
    }
}

fn targets(key: &ClassKey) -> Vec<ServiceTarget> {
    key.targets.iter().map(|target| ServiceTarget { service: target.service.clone(), port: target.port, target: target.target }).collect()
}
