//! Which names stand for which service: Kubernetes Services of type ExternalName.

use base::Hostname;
use registry::{Resolution, Service};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The aliases of each service, over any number of steps; loops and names that end at no service are left out (Istio's
/// `resolveServiceAliases`).
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Aliases(BTreeMap<Hostname, BTreeSet<Hostname>>);

impl Aliases {
    /// Follows every alias to its end.
    pub fn build(services: &[Arc<Service>]) -> Self {
        let targets: BTreeMap<&Hostname, &Hostname> =
            services.iter().filter_map(|service| Some((&service.key.hostname, target(service)?))).collect();
        let concrete: BTreeSet<&Hostname> = services.iter().filter(|service| target(service).is_none()).map(|s| &s.key.hostname).collect();
        let mut out: BTreeMap<Hostname, BTreeSet<Hostname>> = BTreeMap::new();
        for alias in targets.keys() {
            if let Some(end) = end(alias, &targets).filter(|end| concrete.contains(end)) {
                out.entry(end.clone()).or_default().insert((*alias).clone());
            }
        }
        Self(out)
    }

    /// The names that stand for `service`, in alphabetical order.
    pub fn of(&self, service: &Hostname) -> impl Iterator<Item = &Hostname> {
        self.0.get(service).into_iter().flatten()
    }
}

fn target(service: &Service) -> Option<&Hostname> {
    match &service.resolution {
        Resolution::Alias(target) => Some(target),
        _ => None,
    }
}

fn end<'a>(alias: &'a Hostname, targets: &BTreeMap<&'a Hostname, &'a Hostname>) -> Option<&'a Hostname> {
    let mut seen = BTreeSet::from([alias]);
    let mut name = alias;
    while let Some(next) = targets.get(name) {
        if !seen.insert(next) {
            return None;
        }
        name = next;
    }
    Some(name)
}
