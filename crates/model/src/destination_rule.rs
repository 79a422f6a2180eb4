//! DestinationRules: merged within a namespace, looked up across namespaces.

use base::{Hostname, Labels, Namespace, ObjectRef, Visibility};
use istio_api::Object;
use istio_api::networking::destination_rule as api;
use registry::Service;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One rule, or several for the same host merged.
#[derive(Clone, PartialEq, Debug)]
pub struct MergedRule {
    /// The objects, the oldest first.
    pub origins: Vec<ObjectRef>,
    /// Their namespace.
    pub namespace: Namespace,
    /// The host in full, perhaps a wildcard.
    pub host: Hostname,
    /// Who sees it.
    pub visibility: Visibility,
    /// The merged `spec`, its host in full.
    pub spec: api::DestinationRule,
}

/// All rules, found by namespace and host. Cost of a look-up: the rules for this very host, and the wildcards of the
/// namespaces that are asked.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct DestinationRules {
    exact: BTreeMap<(Namespace, Hostname), Vec<Arc<MergedRule>>>,
    /// The most specific first.
    wildcards: BTreeMap<Namespace, Vec<Arc<MergedRule>>>,
}

impl DestinationRules {
    /// Resolves and merges all objects, which come oldest first. Rows equal to those of `previous` keep their
    /// allocation, by which later stages recognise what did not change.
    pub fn build<'a>(
        objects: impl Iterator<Item = &'a Arc<Object<api::DestinationRule>>>,
        domain: &str,
        default_export_to: &[String],
        previous: &Self,
    ) -> Self {
        let mut rules: BTreeMap<(Namespace, Hostname), Vec<MergedRule>> = BTreeMap::new();
        for object in objects {
            let rule = resolve(object, domain, default_export_to);
            let rows = rules.entry((rule.namespace.clone(), rule.host.clone())).or_default();
            // A rule that more namespaces see than an older one adds to that one, and stands for the others on its own.
            let related = rows.iter_mut().filter(|row| row.spec.workload_selector == rule.spec.workload_selector);
            let mut alone = true;
            for row in related.filter(|row| rule.visibility.covers(&row.visibility)) {
                merge(row, &rule);
                alone &= row.visibility != rule.visibility;
            }
            if alone {
                rows.push(rule);
            }
        }
        let mut out = Self::default();
        for ((namespace, host), rows) in rules {
            let wildcard = host.is_wildcard();
            let key = (namespace, host);
            let old = if wildcard { previous.wildcards.get(&key.0) } else { previous.exact.get(&key) };
            let rows: Vec<_> = rows.into_iter().map(|row| keep(old, row)).collect();
            if wildcard {
                out.wildcards.entry(key.0).or_default().extend(rows);
            } else {
                out.exact.insert(key, rows);
            }
        }
        out.wildcards.values_mut().for_each(|rows| rows.sort_by(|a, b| a.host.specificity(&b.host)));
        out
    }

    /// The rule for connections from a client to a service: the first of the client's namespace, the service's and the
    /// root namespace that has any rule for the host decides, even if the next has a more specific one (Istio's
    /// `destinationRule`). A rule that selects the client's workload goes before all others of its namespace.
    pub fn lookup(&self, client: &Namespace, labels: &Labels, root: &Namespace, service: &Service) -> Option<&Arc<MergedRule>> {
        let host = &service.key.hostname;
        let plain = |rule: &&Arc<MergedRule>| rule.spec.workload_selector.is_none();
        let selecting = self.matching(client, host).find(|rule| selects(rule, labels));
        let local = || self.matching(client, host).filter(plain).find(|rule| client != root || rule.visibility.is_private(client));
        let exported = |namespace| self.matching(namespace, host).filter(plain).find(|rule| rule.visibility.allows(client));
        selecting.or_else(local).or_else(|| exported(&service.key.namespace)).or_else(|| exported(root))
    }

    /// The rules of a namespace for a host, the most specific first.
    fn matching<'a>(&'a self, namespace: &Namespace, host: &Hostname) -> impl Iterator<Item = &'a Arc<MergedRule>> + use<'a> {
        let host = host.clone();
        let key = (namespace.clone(), host.clone());
        let exact = self.exact.get(&key).into_iter().flatten();
        let wildcards = self.wildcards.get(namespace).into_iter().flatten();
        exact.chain(wildcards.filter(move |rule| host.subset_of(&rule.host)))
    }

    /// The hosts, perhaps wildcards, whose rules are other allocations in `newer`.
    pub fn changes<'a>(&'a self, newer: &'a Self) -> BTreeSet<&'a Hostname> {
        let same = |one: &[Arc<MergedRule>], other: &[Arc<MergedRule>]| {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let mut out: BTreeSet<&Hostname> = BTreeSet::new();
        let (mut before, mut after) = (self.exact.iter().peekable(), newer.exact.iter().peekable());
        loop {
            match (before.peek(), after.peek()) {
                (Some((old, _)), Some((new, _))) if old < new => out.extend(before.next().map(|((_, host), _)| host)),
                (Some((old, _)), Some((new, _))) if old > new => out.extend(after.next().map(|((_, host), _)| host)),
                (Some(_), Some(_)) => {
                    let (old, new) = (before.next(), after.next());
                    if let (Some(((_, host), old)), Some((_, new))) = (old, new)
                        && !same(old, new)
                    {
                        out.insert(host);
                    }
                }
                (Some(_), None) => out.extend(before.next().map(|((_, host), _)| host)),
                (None, Some(_)) => out.extend(after.next().map(|((_, host), _)| host)),
                (None, None) => break,
            }
        }
        for namespace in self.wildcards.keys().chain(newer.wildcards.keys()) {
            let rules = |all: &'a Self| all.wildcards.get(namespace).map(Vec::as_slice).unwrap_or_default();
            if !same(rules(self), rules(newer)) {
                out.extend(rules(self).iter().chain(rules(newer)).map(|rule| &rule.host));
            }
        }
        out
    }

    /// All rules.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<MergedRule>> {
        self.exact.values().chain(self.wildcards.values()).flatten()
    }
}

fn selects(rule: &MergedRule, labels: &Labels) -> bool {
    rule.spec.workload_selector.as_ref().is_some_and(|selector| labels.contain(&selector.match_labels))
}

fn keep(old: Option<&Vec<Arc<MergedRule>>>, row: MergedRule) -> Arc<MergedRule> {
    let same = old.into_iter().flatten().find(|old| ***old == row);
    same.cloned().unwrap_or_else(|| Arc::new(row))
}

fn resolve(object: &Object<api::DestinationRule>, domain: &str, default_export_to: &[String]) -> MergedRule {
    let namespace = object.metadata.namespace.clone();
    let mut spec = object.spec.clone();
    let host = Hostname::resolve(&spec.host, namespace.as_str(), domain);
    spec.host = host.to_string();
    let visibility = match &spec.workload_selector {
        // A rule for some workloads is never seen by another namespace.
        Some(_) => Visibility::Namespaces(BTreeSet::from([namespace.clone()])),
        None => Visibility::resolve(spec.export_to.iter().map(String::as_str), &namespace, default_export_to),
    };
    MergedRule { origins: vec![object.object_ref()], namespace, host, visibility, spec }
}

/// The younger adds its subsets (those of the same name are dropped), and its policy if there was none.
fn merge(row: &mut MergedRule, rule: &MergedRule) {
    let known: BTreeSet<String> = row.spec.subsets.iter().map(|subset| subset.name.clone()).collect();
    row.spec.subsets.extend(rule.spec.subsets.iter().filter(|subset| !known.contains(&subset.name)).cloned());
    if row.spec.traffic_policy.is_none() {
        row.spec.traffic_policy.clone_from(&rule.spec.traffic_policy);
    }
    row.origins.extend(rule.origins.iter().cloned());
}

#[cfg(test)]
mod tests;
