//! Which objects are ours: the namespaces of the mesh, and the revision.

use crate::{
    options::Options,
    tags::{self, REVISION},
};
use base::{Labels, Namespace};
use istio_api::{AnyObject, mesh::mesh_config::LabelSelector};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::watch;

/// The namespaces and revision whose objects count.
#[derive(Clone, PartialEq, Debug)]
pub struct Scope {
    /// `None` for all.
    namespaces: Option<BTreeSet<Namespace>>,
    /// The revision, and the tags that stand for it.
    revisions: BTreeSet<Arc<str>>,
}

/// The labels of all namespaces, once they are known.
pub type Namespaces = Option<BTreeMap<Namespace, Labels>>;

/// Mesh-wide selectors of namespaces, once they are known.
pub type Selectors = Option<Arc<[LabelSelector]>>;

impl Scope {
    /// Whether the object counts. Namespaces and nodes always do; the revision is only asked of Istio's kinds.
    pub fn includes(&self, object: &AnyObject) -> bool {
        let (kind, metadata) = (object.kind(), object.metadata());
        let namespace = !kind.namespaced() || self.has_namespace(&metadata.namespace);
        // An object without the label is for every revision (config.LabelsInRevisionOrTags).
        let revision = kind.is_kubernetes()
            || metadata.labels.get(REVISION).is_none_or(|revision| revision.is_empty() || self.revisions.contains(revision));
        namespace && revision
    }

    /// Whether the namespace belongs to the mesh.
    pub fn has_namespace(&self, namespace: &Namespace) -> bool {
        self.namespaces.as_ref().is_none_or(|ours| ours.contains(namespace))
    }
}

/// Works the scope out anew whenever selectors, namespaces or tags change, until nobody listens. It stays `None` until all
/// are known; without selectors the namespaces need not be.
pub async fn follow(
    options: Options,
    mut selectors: watch::Receiver<Selectors>,
    mut namespaces: watch::Receiver<Namespaces>,
    mut tags: watch::Receiver<tags::Known>,
    out: watch::Sender<Option<Arc<Scope>>>,
) {
    loop {
        let scope = of(&options, &selectors.borrow_and_update(), &namespaces.borrow_and_update(), &tags.borrow_and_update());
        out.send_if_modified(|old| {
            let changed = scope.is_some() && old.as_deref() != scope.as_ref();
            if changed {
                *old = scope.map(Arc::new);
            }
            changed
        });
        let changed = tokio::select! {
            changed = selectors.changed() => changed,
            changed = namespaces.changed() => changed,
            changed = tags.changed() => changed,
            () = out.closed() => return,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn of(options: &Options, selectors: &Selectors, namespaces: &Namespaces, tags: &tags::Known) -> Option<Scope> {
    let (selectors, tags) = (selectors.as_ref()?, tags.as_ref()?);
    let revisions = tags.iter().chain([&options.revision]).cloned().collect();
    if selectors.is_empty() {
        return Some(Scope { namespaces: None, revisions });
    }
    let selected = namespaces.as_ref()?.iter().filter(|(_, labels)| selectors.iter().any(|selector| selects(selector, labels)));
    let mut ours: BTreeSet<Namespace> = selected.map(|(namespace, _)| namespace.clone()).collect();
    ours.insert(options.root_namespace.clone());
    Some(Scope { namespaces: Some(ours), revisions })
}

/// Kubernetes' label selector (`metav1.LabelSelectorAsSelector`); an operator that it does not know selects nothing.
fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    labels.contain(&selector.match_labels)
        && selector.match_expressions.iter().all(|expression| {
            let value = labels.get(&expression.key);
            let listed = value.is_some_and(|value| expression.values.iter().any(|wanted| wanted == value));
            match expression.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::ClusterId;
    use istio_api::mesh::mesh_config::LabelSelectorRequirement;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn expression(operator: &str, values: &[&str]) -> LabelSelector {
        let values = values.iter().map(ToString::to_string).collect();
        let requirement = LabelSelectorRequirement { key: "team".into(), operator: operator.into(), values };
        LabelSelector { match_labels: BTreeMap::new(), match_expressions: vec![requirement] }
    }

    #[test]
    fn operators_of_selectors() {
        let (web, none) = (Labels::from(labels(&[("team", "web")])), Labels::default());
        for (operator, values, with, without) in [
            ("In", ["web"].as_slice(), true, false),
            ("In", &["shop"], false, false),
            ("NotIn", &["web"], false, true),
            ("Exists", &[], true, false),
            ("DoesNotExist", &[], false, true),
            ("Near", &["web"], false, false),
        ] {
            let selector = expression(operator, values);
            assert_eq!((selects(&selector, &web), selects(&selector, &none)), (with, without), "{operator} {values:?}");
        }
    }

    #[test]
    fn without_selectors_the_namespaces_are_not_waited_for() {
        let options = Options::new(ClusterId::new("c"));
        let tags = Some(BTreeSet::new());
        assert_eq!(of(&options, &None, &None, &tags), None);
        assert!(of(&options, &Some(Arc::from([])), &None, &tags).is_some_and(|scope| scope.namespaces.is_none()));
        let selectors: Selectors = Some(Arc::from([expression("Exists", &[])]));
        assert_eq!(of(&options, &selectors, &None, &tags), None);
        let namespaces = BTreeMap::from([(Namespace::new("a"), labels(&[("team", "x")]).into()), (Namespace::new("b"), Labels::default())]);
        let ours = of(&options, &selectors, &Some(namespaces), &tags).and_then(|scope| scope.namespaces).unwrap();
        assert_eq!(ours, BTreeSet::from([Namespace::new("a"), Namespace::new("istio-system")]));
    }
}
