//! Which mutual TLS mode a port asks for.

use base::{Labels, Namespace};
use istio_api::Object;
use istio_api::security::peer_authentication::{MutualTlsMode, PeerAuthentication};
use std::{collections::BTreeMap, sync::Arc};

/// All PeerAuthentications by namespace, the oldest first.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct PeerAuthentications {
    root: Namespace,
    by_namespace: BTreeMap<Namespace, Vec<Arc<Object<PeerAuthentication>>>>,
}

impl PeerAuthentications {
    /// Indexes the objects, which come oldest first.
    pub fn build<'a>(root: &Namespace, objects: impl Iterator<Item = &'a Arc<Object<PeerAuthentication>>>) -> Self {
        let mut by_namespace: BTreeMap<Namespace, Vec<_>> = BTreeMap::new();
        for object in objects {
            by_namespace.entry(object.metadata.namespace.clone()).or_default().push(object.clone());
        }
        Self { root: root.clone(), by_namespace }
    }

    /// The mode of the whole namespace: what clients in other namespaces can know (Istio's
    /// `BestEffortInferServiceMTLSMode`).
    pub fn namespace_mode(&self, namespace: &Namespace) -> MutualTlsMode {
        self.without_selector(namespace).or_else(|| self.without_selector(&self.root)).unwrap_or(MutualTlsMode::Permissive)
    }

    /// The mode of one port of a workload: port, then workload, namespace and mesh; `UNSET` inherits. A policy with a
    /// selector in the root namespace applies to that namespace only.
    pub fn mode(&self, namespace: &Namespace, labels: &Labels, port: u16) -> MutualTlsMode {
        let policy = self.policy(namespace, labels);
        let at_port = policy.and_then(|policy| policy.spec.port_level_mtls.get(&u32::from(port))).map(|mtls| mtls.mode);
        at_port.filter(|mode| *mode != MutualTlsMode::Unset).unwrap_or_else(|| self.workload_mode(namespace, labels))
    }

    /// The mode of the ports of a workload that no policy names.
    pub fn workload_mode(&self, namespace: &Namespace, labels: &Labels) -> MutualTlsMode {
        let own = self.policy(namespace, labels).and_then(|policy| mode_of(policy));
        own.unwrap_or_else(|| self.namespace_mode(namespace))
    }

    /// The ports that a policy of the workload names, for traffic to ports without a service.
    pub fn ports(&self, namespace: &Namespace, labels: &Labels) -> Vec<(u16, MutualTlsMode)> {
        let ports = self.policy(namespace, labels).into_iter().flat_map(|policy| policy.spec.port_level_mtls.keys());
        ports.filter_map(|port| u16::try_from(*port).ok()).map(|port| (port, self.mode(namespace, labels, port))).collect()
    }

    /// The policy that decides the mode of a port: that of the workload, the namespace or the mesh.
    pub fn deciding(&self, namespace: &Namespace, labels: &Labels, port: u16) -> Option<&Arc<Object<PeerAuthentication>>> {
        let own = self.policy(namespace, labels).filter(|policy| {
            let at_port = policy.spec.port_level_mtls.get(&u32::from(port)).map(|mtls| mtls.mode);
            at_port.is_some_and(|mode| mode != MutualTlsMode::Unset) || mode_of(policy).is_some()
        });
        let wide = |namespace: &Namespace| {
            let rows = self.by_namespace.get(namespace).into_iter().flatten();
            rows.filter(|policy| !has_selector(policy)).find(|policy| mode_of(policy).is_some())
        };
        own.or_else(|| wide(namespace)).or_else(|| wide(&self.root))
    }

    fn policy(&self, namespace: &Namespace, labels: &Labels) -> Option<&Arc<Object<PeerAuthentication>>> {
        let rows = self.by_namespace.get(namespace).into_iter().flatten();
        rows.filter(|policy| has_selector(policy))
            .find(|policy| policy.spec.selector.as_ref().is_some_and(|selector| labels.contain(&selector.match_labels)))
    }

    fn without_selector(&self, namespace: &Namespace) -> Option<MutualTlsMode> {
        let mut rows = self.by_namespace.get(namespace).into_iter().flatten();
        // The oldest alone counts, even if it leaves the mode to the next level.
        rows.find(|policy| !has_selector(policy)).and_then(|policy| mode_of(policy))
    }
}

fn has_selector(policy: &Object<PeerAuthentication>) -> bool {
    policy.spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty())
}

fn mode_of(policy: &Object<PeerAuthentication>) -> Option<MutualTlsMode> {
    policy.spec.mtls.as_ref().map(|mtls| mtls.mode).filter(|mode| *mode != MutualTlsMode::Unset)
}

impl PeerAuthentications {
    /// The keys of labels by which policies select workloads.
    pub(crate) fn selecting_labels(&self) -> impl Iterator<Item = String> {
        let selectors = self.by_namespace.values().flatten().filter_map(|policy| policy.spec.selector.as_ref());
        selectors.flat_map(|selector| selector.match_labels.keys().cloned())
    }
}
