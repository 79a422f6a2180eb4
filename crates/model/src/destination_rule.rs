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

/// All rules by namespace, the most specific host first.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct DestinationRules(BTreeMap<Namespace, Vec<Arc<MergedRule>>>);

impl DestinationRules {
    /// Resolves and merges all objects, which come oldest first. Rows equal to those of `previous` keep their
    /// allocation, by which later stages recognise what did not change.
    pub fn build<'a>(
        objects: impl Iterator<Item = &'a Arc<Object<api::DestinationRule>>>,
        domain: &str,
        default_export_to: &[String],
        previous: &Self,
    ) -> Self {
        let mut rules: BTreeMap<Namespace, Vec<MergedRule>> = BTreeMap::new();
        for object in objects {
            let rule = resolve(object, domain, default_export_to);
            let rows = rules.entry(rule.namespace.clone()).or_default();
            match rows.iter_mut().find(|row| mergeable(row, &rule)) {
                Some(row) => merge(row, rule),
                None => rows.push(rule),
            }
        }
        let mut out = BTreeMap::new();
        for (namespace, mut rows) in rules {
            rows.sort_by(|a, b| a.host.specificity(&b.host));
            let old = previous.0.get(&namespace);
            out.insert(namespace, rows.into_iter().map(|row| keep(old, row)).collect());
        }
        Self(out)
    }

    /// The rule for connections from a client to a service: the first of the client's namespace, the service's and the
    /// root namespace that has any rule for the host decides, even if the next has a more specific one (Istio's
    /// `destinationRule`). A rule that selects the client's workload goes before all others of its namespace.
    pub fn lookup(&self, client: &Namespace, labels: &Labels, root: &Namespace, service: &Service) -> Option<&Arc<MergedRule>> {
        let host = &service.key.hostname;
        let own = self.0.get(client).map(Vec::as_slice).unwrap_or_default();
        let selecting = own.iter().find(|rule| host.subset_of(&rule.host) && selects(rule, labels));
        if selecting.is_some() {
            return selecting;
        }
        let plain = |rule: &&Arc<MergedRule>| rule.spec.workload_selector.is_none() && host.subset_of(&rule.host);
        let local = own.iter().find(|rule| plain(rule) && (client != root || rule.visibility.is_private(client)));
        let exported = |namespace: &Namespace| {
            let rows = self.0.get(namespace).map(Vec::as_slice).unwrap_or_default();
            rows.iter().find(|rule| plain(rule) && rule.visibility.allows(client))
        };
        local.or_else(|| exported(&service.key.namespace)).or_else(|| exported(root))
    }

    /// All rules.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<MergedRule>> {
        self.0.values().flatten()
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

/// Same host, same audience, same selector.
fn mergeable(row: &MergedRule, rule: &MergedRule) -> bool {
    row.host == rule.host && row.visibility == rule.visibility && row.spec.workload_selector == rule.spec.workload_selector
}

/// The younger adds its subsets (those of the same name are dropped), and its policy if there was none.
fn merge(row: &mut MergedRule, rule: MergedRule) {
    let known: BTreeSet<String> = row.spec.subsets.iter().map(|subset| subset.name.clone()).collect();
    row.spec.subsets.extend(rule.spec.subsets.into_iter().filter(|subset| !known.contains(&subset.name)));
    if row.spec.traffic_policy.is_none() {
        row.spec.traffic_policy = rule.spec.traffic_policy;
    }
    row.origins.extend(rule.origins);
}
