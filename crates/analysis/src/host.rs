//! Names of hosts as Istio's analyzers compare them (`analyzers/util/hosts.go`, `service_lookup.go`).

use crate::{Mesh, mesh::rows};
use base::Namespace;
use std::collections::BTreeMap;

/// The suffix of Kubernetes' services; Istio's analyzers know no other one.
pub(crate) const DOMAIN: &str = "svc.cluster.local";

/// The name in full of a host that is a short name.
pub(crate) fn in_full(namespace: &Namespace, host: &str) -> String {
    if host.starts_with('*') || host.contains('.') { host.to_owned() } else { format!("{host}.{namespace}.{DOMAIN}") }
}

/// Namespace and name of the service that a host stands for; a host that is none of Kubernetes belongs to `namespace`.
pub(crate) fn service_name(namespace: &Namespace, host: &str) -> (String, String) {
    let parts = host.strip_suffix(DOMAIN).and_then(|rest| rest.strip_suffix('.')).and_then(|rest| rest.rsplit_once('.'));
    match parts {
        Some((name, namespace)) if !name.is_empty() && !namespace.is_empty() => (namespace.to_owned(), name.to_owned()),
        _ => (namespace.to_string(), host.to_owned()),
    }
}

/// The namespaces that an `exportTo` list means: `*`, or names.
pub(crate) fn scopes(export_to: &[String], own: &Namespace) -> Vec<String> {
    if export_to.is_empty() || export_to.iter().any(|to| to == "*") {
        return vec!["*".to_owned()];
    }
    let mut scopes: Vec<String> = export_to.iter().map(|to| if to == "." { own.to_string() } else { to.clone() }).collect();
    scopes.sort();
    scopes.dedup();
    scopes
}

/// A service as far as destinations go.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownHost {
    /// Its ports.
    pub ports: Vec<u32>,
    /// The labels of its workloads, for a ServiceEntry that selects them.
    pub selector: BTreeMap<String, String>,
}

/// Hosts by the namespaces that see them (`*` for all) and name.
pub(crate) struct KnownHosts(BTreeMap<(String, String), KnownHost>);

impl KnownHosts {
    /// Those of ServiceEntries and Services.
    pub fn of(mesh: &Mesh<'_>) -> Self {
        let mut hosts = BTreeMap::new();
        for entry in rows(&mesh.store.service_entries) {
            let own = &entry.metadata.namespace;
            let selector = entry.spec.workload_selector.as_ref().map(|selector| selector.labels.clone()).unwrap_or_default();
            let known = KnownHost { ports: entry.spec.ports.iter().map(|port| port.number).collect(), selector };
            for scope in scopes(&entry.spec.export_to, own) {
                for host in &entry.spec.hosts {
                    hosts.insert((scope.clone(), in_full(own, host)), known.clone());
                }
            }
        }
        for service in rows(&mesh.store.services) {
            let own = &service.metadata.namespace;
            let ports = service.spec.ports.iter().filter_map(|port| u32::try_from(port.port).ok()).collect();
            let known = KnownHost { ports, selector: BTreeMap::new() };
            let exported = service.metadata.annotations.get("networking.istio.io/exportTo").map(String::as_str).unwrap_or_default();
            let export_to: Vec<String> = exported.split(',').map(|to| to.trim().to_owned()).filter(|to| !to.is_empty()).collect();
            for scope in scopes(&export_to, own) {
                hosts.insert((scope, in_full(own, &service.metadata.name)), known.clone());
            }
        }
        Self(hosts)
    }

    /// What `host` means to an object of `namespace` with this `exportTo`: first an exact name, then a wildcard.
    pub fn find(&self, namespace: &Namespace, export_to: &[String], host: &str) -> Option<&KnownHost> {
        let name = in_full(namespace, host);
        let local = vec![namespace.to_string()];
        let exported: Vec<String> = export_to.iter().map(|to| if to == "." { namespace.to_string() } else { to.clone() }).collect();
        let seen = if export_to.is_empty() { &local } else { &exported };
        let exact =
            std::iter::once("*").chain(seen.iter().map(String::as_str)).find_map(|scope| self.0.get(&(scope.to_owned(), name.clone())));
        let wildcard = || {
            let host = host.trim_start_matches('*');
            let visible = self.0.iter().filter(|((scope, _), _)| scope == "*" || *scope == *namespace.as_str());
            visible
                .filter_map(|((_, name), known)| Some((name.strip_prefix('*')?, known)))
                .find(|(suffix, _)| host.ends_with(suffix))
                .map(|(_, known)| known)
        };
        exact.or_else(wildcard)
    }
}

/// `name` or `namespace/name`, seen from `namespace`.
pub(crate) fn short_or_full<'a>(namespace: &'a str, text: &'a str) -> (&'a str, &'a str) {
    text.split_once('/').unwrap_or((namespace, text))
}
