//! What differs between two snapshots, as far as resources can tell.

use base::Hostname;
use incremental::Touched;
use model::{Snapshot, VirtualService};
use rustc_hash::FxHashSet;
use std::{collections::BTreeSet, sync::Arc};

/// The reach of a turn.
#[derive(Clone, Default)]
pub struct Delta {
    /// A setting that any resource may depend on.
    pub settings: bool,
    /// Something that only what a class shares with no other may depend on: its listeners.
    pub policies: bool,
    /// Nothing but endpoints.
    pub only_endpoints: bool,
    /// Some service came, went or changed.
    pub services: bool,
    /// The host names whose services, endpoints or DestinationRules differ.
    pub hosts: BTreeSet<Hostname>,
    /// The same, as what computations have read.
    pub touched: Touched,
    /// The VirtualServices that came, went or changed, as they were and as they are.
    pub rules: Vec<Arc<VirtualService>>,
}

impl Delta {
    /// What leads from `old` to `new`. Cost: that of what differs, but for a pointer of each rule.
    pub fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let services: BTreeSet<Hostname> = old.services.changes(&new.services).map(|key| key.hostname.clone()).collect();
        let (settings, policies) = (!same_settings(old, new), !same_policies(old, new));
        let mut out = Self { settings, policies, services: !services.is_empty(), hosts: services, ..Self::default() };
        let same_rules =
            Arc::ptr_eq(&old.destination_rules, &new.destination_rules) && Arc::ptr_eq(&old.virtual_services, &new.virtual_services);
        out.only_endpoints = !settings && !policies && !out.services && same_rules;
        out.hosts.extend(old.endpoints.changes(&new.endpoints).map(|key| key.hostname.clone()));
        if !Arc::ptr_eq(&old.destination_rules, &new.destination_rules) {
            for host in old.destination_rules.changes(&new.destination_rules) {
                if host.is_wildcard() {
                    let all = new.services.iter(&mut incremental::Cx::default()).map(|(key, _)| &key.hostname);
                    out.hosts.extend(all.filter(|name| name.subset_of(host)).cloned());
                } else {
                    out.hosts.insert(host.clone());
                }
            }
        }
        out.hosts.iter().for_each(|host| out.touched.insert(host));
        if !Arc::ptr_eq(&old.virtual_services, &new.virtual_services) {
            out.rules = changed(&old.virtual_services.all, &new.virtual_services.all);
        }
        out
    }

    /// The reach of everything: nothing was there before.
    pub fn everything() -> Self {
        Self { settings: true, policies: true, services: true, ..Self::default() }
    }

    /// The same, with more host names for which something else is seen than before.
    pub fn with_hosts<'a>(&self, hosts: impl Iterator<Item = &'a Hostname>) -> Self {
        let mut out = self.clone();
        for host in hosts {
            out.touched.insert(host);
            out.hosts.insert(host.clone());
        }
        out
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        !self.settings && !self.policies && !self.services && self.hosts.is_empty() && self.rules.is_empty()
    }

    /// Whether any rule that differs may be about this host.
    pub fn rules_about(&self, host: &Hostname) -> bool {
        self.rules.iter().flat_map(|vs| &vs.hosts).any(|own| own.matches(host))
    }
}

fn changed(old: &[Arc<VirtualService>], new: &[Arc<VirtualService>]) -> Vec<Arc<VirtualService>> {
    let pointers = |all: &[Arc<VirtualService>]| all.iter().map(Arc::as_ptr).collect::<FxHashSet<_>>();
    let (before, after) = (pointers(old), pointers(new));
    let gone = old.iter().filter(|vs| !after.contains(&Arc::as_ptr(vs)));
    gone.chain(new.iter().filter(|vs| !before.contains(&Arc::as_ptr(vs)))).cloned().collect()
}

/// Everything of a snapshot that is not looked up by a host name. A field that is added there must be compared here or in
/// [`same_policies`], or make its way into [`Delta`] otherwise.
fn same_settings(old: &Snapshot, new: &Snapshot) -> bool {
    let Snapshot {
        domain,
        mesh,
        networks,
        features,
        network_gateways,
        services: _,
        services_by_age: _,
        aliases,
        cluster_local,
        endpoints: _,
        virtual_services: _,
        destination_rules: _,
        gateways,
        passing_gateways,
        sidecars,
        peer_authentications,
        authorization_policies: _,
        request_authentications: _,
        jwks: _,
        credentials,
        reference_grants,
        selecting_labels,
        locality_matters,
        node_matters,
    } = new;
    old.domain == *domain
        && Arc::ptr_eq(&old.mesh, mesh)
        && Arc::ptr_eq(&old.networks, networks)
        && Arc::ptr_eq(&old.features, features)
        && Arc::ptr_eq(&old.network_gateways, network_gateways)
        && Arc::ptr_eq(&old.aliases, aliases)
        && Arc::ptr_eq(&old.cluster_local, cluster_local)
        && Arc::ptr_eq(&old.gateways, gateways)
        && Arc::ptr_eq(&old.passing_gateways, passing_gateways)
        && Arc::ptr_eq(&old.sidecars, sidecars)
        && Arc::ptr_eq(&old.peer_authentications, peer_authentications)
        && old.credentials.changes(credentials).next().is_none()
        && old.reference_grants.changes(reference_grants).next().is_none()
        && Arc::ptr_eq(&old.selecting_labels, selecting_labels)
        && old.locality_matters == *locality_matters
        && old.node_matters == *node_matters
}

/// What nothing but listeners and what belongs to them depends on.
fn same_policies(old: &Snapshot, new: &Snapshot) -> bool {
    Arc::ptr_eq(&old.authorization_policies, &new.authorization_policies)
        && Arc::ptr_eq(&old.request_authentications, &new.request_authentications)
        && Arc::ptr_eq(&old.jwks, &new.jwks)
}
