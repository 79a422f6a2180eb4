//! Which policies apply to a workload: by a selector or by the resource that they target, in the workload's namespace and in
//! the root namespace (Istio's `model/policyattachment.go`).

use base::{Labels, Namespace};
use istio_api::security::{authorization_policy::AuthorizationPolicy, request_authentication::RequestAuthentication};
use istio_api::selector::{PolicyTargetReference, WorkloadSelector};
use istio_api::{Object, Resource};
use std::{collections::BTreeMap, sync::Arc};

/// The label of a workload that a Gateway of the Gateway API is made of.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// A kind that is attached to workloads.
pub trait Attached: Resource {
    /// The workloads, by labels; without one all of the namespace.
    fn selector(&self) -> Option<&WorkloadSelector>;
    /// The resources instead.
    fn target_refs(&self) -> &[PolicyTargetReference];
    /// The older form of a single one, which counts where `target_refs` is empty.
    fn target_ref(&self) -> Option<&PolicyTargetReference>;

    /// The resources that it targets.
    fn targets(&self) -> impl Iterator<Item = &PolicyTargetReference> {
        let single = self.target_ref().filter(|_| self.target_refs().is_empty());
        self.target_refs().iter().chain(single)
    }
}

macro_rules! attached {
    ($($kind:ty),*) => { $(
        impl Attached for $kind {
            fn selector(&self) -> Option<&WorkloadSelector> {
                self.selector.as_ref()
            }

            fn target_refs(&self) -> &[PolicyTargetReference] {
                &self.target_refs
            }

            fn target_ref(&self) -> Option<&PolicyTargetReference> {
                self.target_ref.as_ref()
            }
        }
    )* };
}

attached!(AuthorizationPolicy, RequestAuthentication);

/// Whom policies are looked up for.
#[derive(Clone, Copy, Debug)]
pub struct PolicySubject<'a> {
    /// The namespace of the workload.
    pub namespace: &'a Namespace,
    /// Its labels.
    pub labels: &'a Labels,
}

/// All policies of a kind by namespace, the oldest first.
#[derive(Clone, PartialEq, Debug)]
pub struct AttachedPolicies<T: Resource> {
    root: Namespace,
    by_namespace: BTreeMap<Namespace, Vec<Arc<Object<T>>>>,
}

impl<T: Resource> Default for AttachedPolicies<T> {
    fn default() -> Self {
        Self { root: Namespace::default(), by_namespace: BTreeMap::new() }
    }
}

impl<T: Attached> AttachedPolicies<T> {
    /// Indexes the objects, which come oldest first.
    pub fn build<'a>(root: &Namespace, objects: impl Iterator<Item = &'a Arc<Object<T>>>) -> Self {
        let mut by_namespace: BTreeMap<Namespace, Vec<_>> = BTreeMap::new();
        for object in objects {
            by_namespace.entry(object.metadata.namespace.clone()).or_default().push(object.clone());
        }
        Self { root: root.clone(), by_namespace }
    }

    /// All of them, by namespace.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.by_namespace.values().flatten()
    }

    /// Those of the root namespace that apply to the workload; none if that is its own namespace.
    pub fn of_mesh<'a>(&'a self, subject: PolicySubject<'a>) -> impl Iterator<Item = &'a Arc<Object<T>>> {
        let root = Some(&self.root).filter(|root| *root != subject.namespace);
        root.into_iter().flat_map(move |root| self.of(root, subject))
    }

    /// Those of its own namespace that apply to it.
    pub fn of_namespace<'a>(&'a self, subject: PolicySubject<'a>) -> impl Iterator<Item = &'a Arc<Object<T>>> {
        self.of(subject.namespace, subject)
    }

    fn of<'a>(&'a self, namespace: &Namespace, subject: PolicySubject<'a>) -> impl Iterator<Item = &'a Arc<Object<T>>> {
        let rows = self.by_namespace.get(namespace).into_iter().flatten();
        rows.filter(move |policy| applies(policy, subject))
    }

    /// The keys of labels by which policies select workloads.
    pub(crate) fn selecting_labels(&self) -> impl Iterator<Item = String> {
        let by_selector =
            self.iter().filter_map(|policy| policy.spec.selector()).flat_map(|selector| selector.match_labels.keys().cloned());
        let by_target = self.iter().any(|policy| policy.spec.targets().next().is_some());
        by_selector.chain(by_target.then(|| GATEWAY_NAME.to_owned()))
    }
}

/// A policy with targets applies to the Gateways of the Gateway API that it names, of its own namespace, and to nothing else;
/// any other by its selector. (Services and GatewayClasses are targets for waypoints.)
fn applies<T: Attached>(policy: &Object<T>, subject: PolicySubject<'_>) -> bool {
    let namespace = &policy.metadata.namespace;
    let mut targets = policy.spec.targets().peekable();
    if targets.peek().is_none() {
        return policy.spec.selector().is_none_or(|selector| subject.labels.contain(&selector.match_labels));
    }
    let own = subject.labels.get(GATEWAY_NAME).filter(|_| namespace == subject.namespace);
    let mut near = targets.filter(|target| target.namespace.is_empty() || target.namespace == namespace.as_str());
    near.any(|target| {
        (target.group.as_str(), target.kind.as_str(), Some(target.name.as_str())) == ("gateway.networking.k8s.io", "Gateway", own)
    })
}
