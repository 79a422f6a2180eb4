//! VirtualServices with every name in full.

use base::{Diagnostic, Hostname, Namespace, ObjectRef, Visibility};
use istio_api::networking::virtual_service as api;
use istio_api::{Metadata, Object};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The reserved name for "all sidecars" in `gateways`.
pub const MESH_GATEWAY: &str = "mesh";

/// On a VirtualService that was made of another object: whose rules of matching hold.
pub(crate) const SEMANTICS: &str = "internal.istio.io/route-semantics";

/// Whose words a VirtualService is in, which changes what a few of its fields mean.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Semantics {
    /// Its own.
    #[default]
    VirtualService,
    /// Those of Ingress: prefixes are path elements.
    Ingress,
    /// Those of the Gateway API.
    GatewayApi,
}

/// One VirtualService, resolved: short host names belong to its own namespace, gateways are `namespace/name`.
#[derive(Clone, PartialEq, Debug)]
pub struct VirtualService {
    /// The object.
    pub origin: ObjectRef,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.namespace`.
    pub namespace: Namespace,
    /// Seconds since the epoch; the older owns a host.
    pub created: Option<i64>,
    /// Who sees it.
    pub visibility: Visibility,
    /// The host names in full.
    pub hosts: Vec<Hostname>,
    /// `mesh` and `namespace/name`; empty only for a delegate, which is bound to nothing.
    pub gateways: BTreeSet<String>,
    /// The rules, with destinations' and matches' names in full, and those of delegates in their place.
    pub spec: api::VirtualService,
    /// The objects whose rules were put into `spec`.
    pub delegates: Vec<ObjectRef>,
    /// Whose words it is in.
    pub semantics: Semantics,
    /// What is wrong between it and its delegates.
    pub findings: Vec<Diagnostic>,
}

impl VirtualService {
    /// Resolves an object. The clone of its `spec` is made once, when the object changes.
    pub fn resolve(object: &Object<api::VirtualService>, domain: &str, default_export_to: &[String]) -> Self {
        let (metadata, mut spec) = (&object.metadata, object.spec.clone());
        let namespace = metadata.namespace.as_str();
        if spec.hosts.is_empty() {
            spec.gateways.clear();
        } else if spec.gateways.is_empty() {
            spec.gateways.push(MESH_GATEWAY.to_string());
        }
        resolve_gateways(&mut spec.gateways, namespace);
        spec.hosts.iter_mut().for_each(|host| *host = Hostname::resolve(host, namespace, domain).to_string());
        for_each_destination(&mut spec, |destination| {
            destination.host = Hostname::resolve(&destination.host, namespace, domain).to_string();
        });
        for_each_match_gateways(&mut spec, |gateways| resolve_gateways(gateways, namespace));
        Self {
            origin: object.object_ref(),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            created: created(metadata),
            visibility: Visibility::resolve(spec.export_to.iter().map(String::as_str), &metadata.namespace, default_export_to),
            hosts: spec.hosts.iter().map(Hostname::new).collect(),
            gateways: spec.gateways.iter().cloned().collect(),
            spec,
            delegates: Vec::new(),
            semantics: match metadata.annotations.get(SEMANTICS).map(String::as_str) {
                Some("ingress") => Semantics::Ingress,
                Some("gateway") => Semantics::GatewayApi,
                _ => Semantics::VirtualService,
            },
            findings: Vec::new(),
        }
    }

    /// Whether its rules are for others to take in: it has no hosts.
    pub fn is_delegate(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The rules of any kind lead to these destinations.
    pub fn destinations(&self) -> impl Iterator<Item = &api::Destination> {
        let http = self.spec.http.iter().flat_map(|http| {
            let routes = http.route.iter().filter_map(|route| route.destination.as_ref());
            let mirrors = http.mirrors.iter().filter_map(|mirror| mirror.destination.as_ref());
            routes.chain(http.mirror.as_ref()).chain(mirrors)
        });
        let tls = self.spec.tls.iter().flat_map(|tls| &tls.route);
        let tcp = self.spec.tcp.iter().flat_map(|tcp| &tcp.route);
        http.chain(tls.chain(tcp).filter_map(|route| route.destination.as_ref()))
    }
}

/// All VirtualServices, found by the gateways that they are bound to.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct VirtualServices {
    /// The oldest first.
    pub all: Vec<Arc<VirtualService>>,
    /// In the order in which they win.
    by_gateway: BTreeMap<String, Vec<Arc<VirtualService>>>,
}

impl VirtualServices {
    /// Files them; the oldest come first.
    pub fn new(all: Vec<Arc<VirtualService>>) -> Self {
        let mut by_gateway: BTreeMap<String, Vec<Arc<VirtualService>>> = BTreeMap::new();
        for vs in &all {
            for gateway in &vs.gateways {
                match by_gateway.get_mut(gateway) {
                    Some(rows) => rows.push(vs.clone()),
                    None => drop(by_gateway.insert(gateway.clone(), vec![vs.clone()])),
                }
            }
        }
        for rows in by_gateway.values_mut() {
            rows.sort_by_key(|vs| match &vs.visibility {
                Visibility::Namespaces(_) if vs.visibility.is_private(&vs.namespace) => 0,
                Visibility::Namespaces(_) => 1,
                Visibility::Public => 2,
            });
        }
        Self { all, by_gateway }
    }

    /// Those that a client in `namespace` sees for one of its gateways, in the order in which they win: its own
    /// namespace's, those exported to it by name, then the public ones; the oldest first within each (Istio's
    /// `SelectVirtualServices`).
    pub fn visible(&self, namespace: &Namespace, gateway: &str) -> Vec<&Arc<VirtualService>> {
        self.by_gateway.get(gateway).into_iter().flatten().filter(|vs| vs.visibility.allows(namespace)).collect()
    }
}

fn created(metadata: &Metadata) -> Option<i64> {
    metadata.creation_timestamp.map(|time| time.0)
}

/// `namespace/name`; an older form is the name of a Service, of which only name and namespace count.
fn resolve_gateways(gateways: &mut [String], namespace: &str) {
    for gateway in gateways.iter_mut().filter(|name| *name != MESH_GATEWAY) {
        if let Some(name) = gateway.strip_prefix("./") {
            *gateway = format!("{namespace}/{name}");
        } else if !gateway.contains('/') {
            let mut parts = gateway.splitn(3, '.');
            let (name, own) = (parts.next().unwrap_or_default(), parts.next().unwrap_or(namespace));
            *gateway = format!("{own}/{name}");
        }
    }
}

fn for_each_destination(spec: &mut api::VirtualService, mut visit: impl FnMut(&mut api::Destination)) {
    for http in &mut spec.http {
        http.route.iter_mut().filter_map(|route| route.destination.as_mut()).for_each(&mut visit);
        http.mirror.iter_mut().for_each(&mut visit);
        http.mirrors.iter_mut().filter_map(|mirror| mirror.destination.as_mut()).for_each(&mut visit);
    }
    let tls = spec.tls.iter_mut().flat_map(|tls| &mut tls.route);
    let tcp = spec.tcp.iter_mut().flat_map(|tcp| &mut tcp.route);
    tls.chain(tcp).filter_map(|route| route.destination.as_mut()).for_each(visit);
}

fn for_each_match_gateways(spec: &mut api::VirtualService, mut visit: impl FnMut(&mut Vec<String>)) {
    spec.http.iter_mut().flat_map(|http| &mut http.matches).for_each(|m| visit(&mut m.gateways));
    spec.tls.iter_mut().flat_map(|tls| &mut tls.matches).for_each(|m| visit(&mut m.gateways));
    spec.tcp.iter_mut().flat_map(|tcp| &mut tcp.matches).for_each(|m| visit(&mut m.gateways));
}
