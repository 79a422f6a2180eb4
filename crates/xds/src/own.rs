//! What a class shares with no other: its inbound side and its listeners, or everything of a gateway's servers.

use crate::class::ClassKey;
use crate::delta::Delta;
use crate::drafts::{Drafts, Seen};
use crate::generate::{Built, Generator};
use crate::part::Sight;
use crate::resolve::{
    self, Scope, View as ClassView,
    outbound::{Draft, Frame},
};
use envoy::listener::Bind;
use model::{MESH_GATEWAY, MergedGateway, Referrer, SidecarScope, Snapshot};
use registry::ServiceTarget;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use xds_wire::{Encoded, ResourceName, ResourceType};

/// Resources that were made together, with what they depend on.
#[derive(Default)]
struct Group {
    reads: Option<Seen>,
    resources: Vec<(ResourceType, Arc<Encoded>)>,
}

/// The own resources of a class.
#[derive(Default)]
pub struct Own {
    inbound: Group,
    outbound: Group,
    /// The endpoints of the proxy's own workload, if it knows their zones.
    local_cluster: Group,
    /// The listeners of drafts.
    listeners: BTreeMap<Bind, (Arc<Draft>, Arc<Encoded>)>,
    /// Only of a class that knows the addresses of its proxy, which are not listened for.
    drafts: Drafts,
}

impl Group {
    fn reached(&self, delta: &Delta) -> bool {
        delta.policies || self.reads.as_ref().is_none_or(|seen| seen.reached(delta))
    }

    fn replace(&mut self, view: &ClassView<'_>, resources: Vec<(ResourceType, Arc<Encoded>)>) {
        *self = Self { reads: Some(Seen::of(view)), resources };
    }
}

impl Own {
    /// Those of a type, by name. Names are unique: the first resource of a name stays.
    pub fn rows(&self, kind: ResourceType) -> BTreeMap<ResourceName, Arc<Encoded>> {
        let mut out = BTreeMap::new();
        let listeners = self.listeners.values().map(|(_, listener)| listener).filter(|_| kind == ResourceType::Listener);
        let groups = [&self.outbound, &self.inbound, &self.local_cluster].into_iter().flat_map(|group| &group.resources);
        let others = groups.filter(|(own, _)| *own == kind);
        for resource in listeners.chain(others.map(|(_, resource)| resource)) {
            out.entry(resource.name.clone()).or_insert_with(|| resource.clone());
        }
        out
    }

    /// Makes what `delta` reaches; whether that was anything.
    pub fn advance(&mut self, generator: &mut Generator, snapshot: &Snapshot, key: &ClassKey, sight: &Sight, delta: &Delta) -> bool {
        match &sight.scope {
            Some(scope) => self.advance_sidecar(generator, &ClassView::new(snapshot, key, scope), sight, delta),
            None => self.advance_router(generator, snapshot, key, delta),
        }
    }

    fn advance_sidecar(&mut self, generator: &mut Generator, view: &ClassView<'_>, sight: &Sight, delta: &Delta) -> bool {
        let Scope::Sidecar(scope) = view.scope else { return false };
        let inbound = self.inbound.reached(delta);
        if inbound {
            let clusters = generator.all(ResourceType::Cluster, resolve::inbound::clusters(view));
            let listeners = generator.all(ResourceType::Listener, resolve::inbound::listeners(view));
            let secrets = generator.all(ResourceType::Secret, resolve::secret::named(view, &view.secrets.take(), Referrer::Workload));
            self.inbound.replace(view, clusters.into_iter().chain(listeners).chain(secrets).collect());
        }
        let local_cluster = view.class.own_workload.is_some() && self.local_cluster.reached(delta);
        if local_cluster {
            let endpoints = generator.all(ResourceType::Endpoint, resolve::local_cluster::assignment(view));
            self.local_cluster.replace(view, endpoints);
        }
        let drafts = if view.class.addresses.is_empty() {
            sight.drafts.clone()
        } else {
            self.drafts.advance(view, scope, sight.services, delta);
            self.drafts.rows.clone()
        };
        inbound | local_cluster | self.advance_outbound(generator, view, scope, &drafts, delta)
    }

    /// Builds the listeners whose drafts differ; all of them if what they have in common does.
    fn advance_outbound(
        &mut self,
        generator: &mut Generator,
        view: &ClassView<'_>,
        scope: &SidecarScope,
        drafts: &BTreeMap<Bind, Arc<Draft>>,
        delta: &Delta,
    ) -> bool {
        let all = self.outbound.reached(delta);
        let same = |(bind, draft): (&Bind, &Arc<Draft>)| self.listeners.get(bind).is_some_and(|(known, _)| Arc::ptr_eq(known, draft));
        if !all && self.listeners.len() == drafts.len() && drafts.iter().all(same) {
            return false;
        }
        let frame = Frame::of(view, scope);
        if all {
            let fixed = generator.all(ResourceType::Listener, resolve::outbound::fixed(view, &frame));
            self.outbound.replace(view, fixed);
            self.listeners.clear();
        }
        let mut listeners = BTreeMap::new();
        for (bind, draft) in drafts {
            let known = self.listeners.remove(bind).filter(|(known, _)| Arc::ptr_eq(known, draft));
            let row = known.or_else(|| {
                let built = resolve::outbound::listener(bind, draft, &frame);
                let (_, listener) = generator.all(ResourceType::Listener, vec![built]).pop()?;
                Some((draft.clone(), listener))
            });
            listeners.extend(row.map(|row| (bind.clone(), row)));
        }
        self.listeners = listeners;
        true
    }

    /// A gateway looks at every service and at every rule that is bound to a gateway.
    fn advance_router(&mut self, generator: &mut Generator, snapshot: &Snapshot, key: &ClassKey, delta: &Delta) -> bool {
        let bound = |gateways: &BTreeSet<String>| gateways.iter().any(|name| name != MESH_GATEWAY);
        if !delta.services && !self.outbound.reached(delta) && !delta.rules.iter().any(|vs| bound(&vs.gateways)) {
            return false;
        }
        let gateway = MergedGateway::build(snapshot, &key.namespace, &key.labels, &targets(key));
        let scope = Scope::Router(gateway);
        let view = ClassView::new(snapshot, key, &scope);
        let Scope::Router(gateway) = &scope else { return false };
        let mut resources = generator.all(ResourceType::Route, resolve::gateway::routes(&view, gateway));
        resources.extend(generator.all(ResourceType::Listener, resolve::gateway::listeners(&view, gateway)));
        resources.extend(generator.all(ResourceType::Secret, resolve::secret::named(&view, &view.secrets.take(), Referrer::Gateway)));
        resources.extend(generator.all(ResourceType::Endpoint, resolve::local_cluster::assignment(&view)));
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
