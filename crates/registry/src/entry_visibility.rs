//! How far ServiceEntries may be seen, whatever they ask for themselves (`MeshConfig.serviceEntryVisibility`).

use base::{ClusterId, Labels, Namespace, Visibility};
use config::{Key, Store};
use incremental::Cx;
use istio_api::mesh::mesh_config::{EntryVisibility, LabelSelector, LabelSelectorRequirement};
use std::{collections::BTreeSet, sync::Arc};

/// The narrower of what the entry asks for and what the mesh grants its namespace.
pub fn clamp(store: &Store, namespace: &Namespace, asked: Visibility) -> Visibility {
    let Some(settings) = store.mesh.service_entry_visibility.as_ref().filter(|settings| settings.apply_to_sidecars) else {
        return asked;
    };
    let key = Key { namespace: "".into(), name: Arc::from(namespace.as_str()), cluster: ClusterId::default() };
    let rows = store.namespaces.range(&mut Cx::default(), key..).take_while(|(key, _)| &*key.name == namespace.as_str());
    let labels = rows.map(|(_, object)| object.metadata.labels.clone()).next().unwrap_or_default();
    let applies = |selector: &LabelSelector| {
        labels.contain(&selector.match_labels) && selector.match_expressions.iter().all(|requirement| holds(requirement, &labels))
    };
    let policy = settings
        .policies
        .iter()
        .find(|policy| policy.matching_rules.iter().any(|rule| rule.namespace_selector.as_ref().is_none_or(applies)));
    let own = || BTreeSet::from([namespace.clone()]);
    match (policy.map_or(settings.default_visibility, |policy| policy.visibility), asked) {
        (EntryVisibility::Unspecified | EntryVisibility::Public, asked) => asked,
        (EntryVisibility::None, _) => Visibility::Namespaces(BTreeSet::new()),
        (EntryVisibility::Namespace, Visibility::Public) => Visibility::Namespaces(own()),
        (EntryVisibility::Namespace, Visibility::Namespaces(names)) => Visibility::Namespaces(&names & &own()),
    }
}

/// Kubernetes' operators; an unknown one never holds.
fn holds(requirement: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&requirement.key);
    let listed = value.is_some_and(|value| requirement.values.iter().any(|wanted| wanted == value));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
