//! The route configurations of one part: which virtual hosts stand in which, kept from turn to turn.

use crate::delta::Delta;
use crate::resolve::{
    View,
    route::{self, Place, RouteName},
    virtual_host::{RouteRows, VirtualHostRow, settle, under_every_name},
};
use crate::rows::Interner;
use envoy::route::{RouteConfigurationInputs, route_configuration};
use incremental::Cell;
use model::{EgressListener, SidecarScope, VirtualService};
use registry::Service;
use rustc_hash::{FxHashMap, FxHashSet};
use std::{collections::BTreeSet, sync::Arc};
use xds_wire::{Encoded, ResourceType};

/// What a unit is made of.
enum Source {
    Rule(Arc<VirtualService>),
    Service(Arc<Service>),
}

impl Source {
    fn address(&self) -> usize {
        match self {
            Self::Rule(rule) => Arc::as_ptr(rule).addr(),
            Self::Service(service) => Arc::as_ptr(service).addr(),
        }
    }
}

/// The virtual hosts that one rule, or one service without a rule, adds behind one listener.
struct Unit {
    /// In which route configurations, should they exist.
    rows: Box<[(RouteName, Arc<VirtualHostRow>)]>,
    /// The host names that it depends on.
    reads: Box<[Cell]>,
    /// Whether it depends on which services and rules there are at all: a rule with a wildcard.
    volatile: bool,
}

struct Kept {
    /// Keeps the address in the key from being used for anything else.
    _source: Source,
    unit: Arc<Unit>,
    turn: u64,
}

/// Which listener a route configuration belongs to, and its number in a turn.
#[derive(Clone, Copy)]
struct Slot {
    listener: usize,
    draft: usize,
}

/// The units of one part by listener and source, and what they are put into.
#[derive(Default)]
pub struct RouteTable {
    units: FxHashMap<(usize, usize), Kept>,
    names: FxHashMap<RouteName, Slot>,
    turn: u64,
}

/// One route configuration while rows are added to it.
#[derive(Default, Clone)]
struct Draft<'a> {
    rows: Vec<&'a Arc<VirtualHostRow>>,
    /// The hosts that rules are about.
    ruled: FxHashSet<Cell>,
}

/// What units are made with.
pub struct Making<'a> {
    /// What the part sees.
    pub view: &'a View<'a>,
    /// The same, of a sidecar.
    pub scope: &'a SidecarScope,
    /// What differs from the last turn.
    pub delta: &'a Delta,
    /// The rows of all parts.
    pub rows: &'a mut RouteRows,
    /// The resources of all parts.
    pub interner: &'a mut Interner,
}

impl RouteTable {
    /// Brings the units up to date and puts the route configurations together. Cost: what the delta touches is built; beyond
    /// that a pointer for each virtual host of the part.
    pub fn advance(&mut self, making: &mut Making<'_>) -> Vec<Arc<Encoded>> {
        self.turn += 1;
        let (view, scope, delta) = (making.view, making.scope, making.delta);
        if delta.settings {
            self.units.clear();
        }
        if delta.settings || !delta.hosts.is_empty() || self.names.is_empty() {
            let names = route::names(view, &scope.egress).into_iter().enumerate();
            self.names = names.map(|(draft, (name, listener))| (name, Slot { listener, draft })).collect();
            drop(view.reads.take());
        }
        let rules = self.rules(making);
        let mut drafts = vec![Draft::default(); self.names.len()];
        for (index, unit) in &rules {
            for (name, row) in &unit.rows {
                if let Some(draft) = self.draft(&mut drafts, name, *index) {
                    draft.rows.push(row);
                    draft.ruled.insert(Cell::of(&row.name));
                }
            }
        }
        let services = self.services(making, &drafts);
        for (index, unit) in &services {
            for (name, row) in &unit.rows {
                if let Some(draft) = self.draft(&mut drafts, name, *index)
                    && !draft.ruled.contains(&Cell::of(&row.name))
                {
                    draft.rows.push(row);
                }
            }
        }
        let turn = self.turn;
        self.units.retain(|_, kept| kept.turn == turn);
        self.assemble(making, &drafts)
    }

    fn rules(&mut self, making: &mut Making<'_>) -> Vec<(usize, Arc<Unit>)> {
        let mut out = Vec::new();
        for (index, listener) in making.scope.egress.iter().enumerate() {
            for rule in listener.virtual_services.iter().filter(|vs| !vs.spec.http.is_empty()) {
                out.push((index, self.unit(making, (index, listener), Source::Rule(rule.clone()))));
            }
        }
        out
    }

    /// Those of services that no rule is about in some route configuration.
    fn services(&mut self, making: &mut Making<'_>, drafts: &[Draft<'_>]) -> Vec<(usize, Arc<Unit>)> {
        let mut out = Vec::new();
        for (index, listener) in making.scope.egress.iter().enumerate() {
            for service in listener.services.iter() {
                let host = Cell::of(&service.key.hostname);
                let mut needed = false;
                route::places(listener, service, &mut |name| {
                    let slot = self.names.get(&name).filter(|slot| slot.listener == index);
                    needed |= slot.and_then(|slot| drafts.get(slot.draft)).is_some_and(|draft| !draft.ruled.contains(&host));
                });
                if needed {
                    out.push((index, self.unit(making, (index, listener), Source::Service(service.clone()))));
                }
            }
        }
        out
    }

    /// The unit as it was, unless something that it has read has changed.
    fn unit(&mut self, making: &mut Making<'_>, (index, listener): (usize, &EgressListener), source: Source) -> Arc<Unit> {
        let key = (index, source.address());
        let delta = making.delta;
        if let Some(kept) = self.units.get_mut(&key)
            && !(kept.unit.volatile && (delta.services || !delta.rules.is_empty()))
            && !delta.touched.reaches(&kept.unit.reads)
        {
            kept.turn = self.turn;
            return kept.unit.clone();
        }
        let mut names = BTreeSet::new();
        let volatile = match &source {
            Source::Rule(rule) => {
                route::places_of_rule(making.view, listener, rule, &mut names);
                rule.hosts.iter().any(|host| host.is_wildcard())
            }
            Source::Service(service) => {
                route::places(listener, service, &mut |name| names.extend([name]));
                false
            }
        };
        // Whether there is an explicit proxy is a setting; other route configurations come and go with services.
        let possible = |name: &RouteName| *name != RouteName::HttpProxy || self.names.contains_key(name);
        let mut rows = Vec::new();
        for name in names.into_iter().filter(possible) {
            let place = Place { listener, name: &name };
            let candidates = match &source {
                Source::Rule(rule) => route::of_virtual_service(making.view, &place, rule, making.rows),
                Source::Service(service) => route::of_service(making.view, &place, service, making.rows),
            };
            let all_ports = place.port().is_none();
            let made = candidates.into_iter().filter_map(|candidate| making.rows.row(candidate, all_ports));
            rows.extend(made.map(|row| (name.clone(), row)));
        }
        let unit = Arc::new(Unit { rows: rows.into(), reads: making.view.reads.take(), volatile });
        self.units.insert(key, Kept { _source: source, unit: unit.clone(), turn: self.turn });
        unit
    }

    fn draft<'a, 'b>(&self, drafts: &'a mut [Draft<'b>], name: &RouteName, listener: usize) -> Option<&'a mut Draft<'b>> {
        let slot = self.names.get(name).filter(|slot| slot.listener == listener)?;
        drafts.get_mut(slot.draft)
    }

    fn assemble(&self, making: &mut Making<'_>, drafts: &[Draft<'_>]) -> Vec<Arc<Encoded>> {
        let catch_all = making.rows.catch_all(making.view);
        let mut out = Vec::with_capacity(drafts.len());
        for (name, slot) in &self.names {
            let (Some(draft), Some(listener)) = (drafts.get(slot.draft), making.scope.egress.get(slot.listener)) else { continue };
            let mut parts = settle(&draft.rows);
            match (name, parts.as_mut_slice()) {
                (RouteName::Service(..), [only]) => *only = under_every_name(only),
                (RouteName::Service(..), _) => {}
                _ => parts.push(catch_all.clone()),
            }
            let text = name.text();
            let ignore_port_in_host_matching = Place { listener, name }.port().is_some();
            let (start, end) = route_configuration(&RouteConfigurationInputs { name: &text, ignore_port_in_host_matching });
            out.push(making.interner.assemble(ResourceType::Route, &text, (&start, parts, &end)));
        }
        out
    }
}
