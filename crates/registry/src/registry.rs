//! The way of a change: which services it touches, and their rows built again.

use crate::{
    Endpoint, Provider, Service, ServiceKey, ServiceTarget,
    index::Index,
    kubernetes,
    network::{NetworkGateways, Networks},
    service_entry,
};
use base::{Address, ClusterId, DomainSuffix, Locality, Namespace};
use config::{Key, Store, StoreChanges};
use incremental::{Changed, Cx, Table};
use istio_api::Object;
use istio_api::networking::service_entry::ServiceEntry;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// All services with their endpoints. Cost of a turn: that of the services which its changes touch.
#[derive(Clone, Default)]
pub struct Registry {
    domain: DomainSuffix,
    /// The services.
    pub services: Table<ServiceKey, Service>,
    /// The endpoints of each service, in the order of its slices or entries.
    pub endpoints: Table<ServiceKey, Vec<Endpoint>>,
    /// By service.
    targets: BTreeMap<IpAddr, Box<[ServiceTarget]>>,
    index: Index,
    networks: Networks,
}

/// What a turn changed.
#[derive(Default, Debug)]
pub struct RegistryChanges {
    /// Services declared, changed or gone.
    pub services: Changed<ServiceKey>,
    /// Services whose endpoints changed.
    pub endpoints: Changed<ServiceKey>,
    /// Addresses of workloads that now serve other ports than before, or are elsewhere.
    pub targets: BTreeSet<IpAddr>,
    /// Whether the gateways of networks changed.
    pub networks: bool,
}

impl Registry {
    /// An empty registry for a cluster with this DNS suffix.
    pub fn new(domain: DomainSuffix) -> Self {
        Self { domain, ..Self::default() }
    }

    /// The DNS suffix of the cluster.
    pub fn domain(&self) -> &DomainSuffix {
        &self.domain
    }

    /// The gateways of networks.
    pub fn network_gateways(&self) -> &Arc<NetworkGateways> {
        &self.networks.gateways
    }

    /// The services that the workload with this address serves, by service and port.
    pub fn targets(&self, address: IpAddr) -> impl Iterator<Item = &ServiceTarget> {
        self.targets.get(&address).into_iter().flatten()
    }

    /// Brings the rows up to date with the store.
    pub fn advance(&mut self, store: &Store, changes: &StoreChanges) -> RegistryChanges {
        let (services, endpoints) = self.dirty(store, changes);
        let mut out = RegistryChanges { networks: self.networks.advance(store, changes, &self.domain), ..RegistryChanges::default() };
        for key in services {
            let service = self.build_service(store, &key);
            out.services.set(&mut self.services, key, service);
        }
        for key in endpoints.into_iter().chain(out.services.0.iter().cloned()).collect::<BTreeSet<_>>() {
            self.advance_endpoints(store, key, &mut out);
        }
        out
    }

    fn advance_endpoints(&mut self, store: &Store, key: ServiceKey, out: &mut RegistryChanges) {
        let service = self.services.get(&mut Cx::default(), &key).cloned();
        let built = service.as_deref().map(|service| self.build_endpoints(store, service));
        let old = self.endpoints.get(&mut Cx::default(), &key).cloned();
        let targets_before = targets_of(old.as_deref(), &key, service.as_deref());
        if out.endpoints.set(&mut self.endpoints, key.clone(), built) || out.services.0.contains(&key) {
            self.retarget(&key, service.as_deref(), targets_before.into_keys(), out);
            let (before, now) = (places_of(old.as_deref()), self.endpoints.get(&mut Cx::default(), &key));
            let now = places_of(now.map(|rows| &**rows));
            let moved = now.into_iter().filter(|(address, place)| before.get(address).is_some_and(|before| before != place));
            out.targets.extend(moved.map(|(address, _)| address));
        }
    }

    /// Replaces the index from addresses to this service.
    fn retarget(&mut self, key: &ServiceKey, service: Option<&Service>, before: impl Iterator<Item = IpAddr>, out: &mut RegistryChanges) {
        let endpoints = self.endpoints.get(&mut Cx::default(), key).cloned();
        let mut now = targets_of(endpoints.as_deref(), key, service);
        let addresses: BTreeSet<IpAddr> = before.chain(now.keys().copied()).collect();
        for address in addresses {
            let known = self.targets.get(&address).map(|targets| &**targets).unwrap_or_default();
            let others =
                |smaller: bool| known.iter().filter(move |target| if smaller { target.service < *key } else { target.service > *key });
            let own = now.remove(&address).unwrap_or_default();
            let all: Box<[ServiceTarget]> = others(true).chain(&own).chain(others(false)).cloned().collect();
            if *all == *known {
                continue;
            }
            out.targets.insert(address);
            if all.is_empty() {
                self.targets.remove(&address);
            } else {
                self.targets.insert(address, all);
            }
        }
    }

    /// The services, and those whose endpoints alone, that the changes touch. Keeps the index.
    fn dirty(&mut self, store: &Store, changes: &StoreChanges) -> (BTreeSet<ServiceKey>, BTreeSet<ServiceKey>) {
        let cx = &mut Cx::default();
        let (mut services, mut endpoints) = (BTreeSet::new(), BTreeSet::new());
        for key in &changes.services.0 {
            services.insert(self.kubernetes_key(&key.name, &key.namespace));
        }
        for key in &changes.endpoint_slices.0 {
            let slice = store.endpoint_slices.get(cx, key);
            let name = slice.and_then(|slice| slice.metadata.labels.get(kubernetes::SERVICE_NAME));
            let now: BTreeSet<_> = name.map(|name| self.kubernetes_key(name, &key.namespace)).into_iter().collect();
            endpoints.extend(self.index.slices.of(key).cloned().chain(now.iter().cloned()));
            self.index.slices.replace(key, now);
        }
        for key in &changes.service_entries.0 {
            let entry = store.service_entries.get(cx, key);
            let now: BTreeSet<_> = entry.map(|entry| service_entry::services(store, entry)).into_iter().flatten().map(|s| s.key).collect();
            services.extend(self.index.entries.of(key).cloned().chain(now.iter().cloned()));
            endpoints.extend(now.iter().cloned());
            self.index.entries.replace(key, now);
            if entry.is_some_and(|entry| entry.spec.workload_selector.is_some()) {
                self.index.selecting.insert(key.clone());
            } else {
                self.index.selecting.remove(key);
            }
        }
        for key in &changes.pods.0 {
            endpoints.extend(self.index.pods.by(key).cloned());
        }
        let namespaces: BTreeSet<_> = changes.pods.0.iter().chain(&changes.workload_entries.0).map(|key| &key.namespace).collect();
        for key in self.index.selecting.iter().filter(|key| namespaces.contains(&key.namespace)) {
            endpoints.extend(self.index.entries.of(key).cloned());
        }
        for key in &changes.workload_entries.0 {
            endpoints.extend(self.selecting_services(&key.namespace));
        }
        if changes.mesh || !changes.nodes.is_empty() || !changes.namespaces.is_empty() {
            services.extend(self.services.iter(cx).map(|(key, _)| key.clone()));
            endpoints.extend(self.services.iter(cx).map(|(key, _)| key.clone()));
        }
        (services, endpoints)
    }

    /// Kubernetes Services with a selector also select the WorkloadEntries of their namespace.
    fn selecting_services(&self, namespace: &Namespace) -> Vec<ServiceKey> {
        let all = self.services.iter(&mut Cx::default()).map(|(_, service)| service);
        let own = all.filter(|s| s.provider == Provider::Kubernetes && s.key.namespace == *namespace && !s.selector.is_empty());
        own.map(|service| service.key.clone()).collect()
    }

    fn kubernetes_key(&self, name: &str, namespace: &Namespace) -> ServiceKey {
        ServiceKey { hostname: kubernetes::hostname(name, namespace.as_str(), &self.domain), namespace: namespace.clone() }
    }

    /// The name of the Kubernetes Service that has this key, if it has the form of one.
    fn kubernetes_name<'a>(&self, key: &'a ServiceKey) -> Option<&'a str> {
        let suffix = format!(".{}.svc.{}", key.namespace, self.domain);
        key.hostname.as_str().strip_suffix(&suffix).filter(|name| !name.contains('.'))
    }

    /// A Kubernetes Service wins over ServiceEntries; among these the oldest, to which the others of the same kind of
    /// resolution add their ports (Istio's `canMergeServices`).
    fn build_service(&self, store: &Store, key: &ServiceKey) -> Option<Service> {
        if let Some(name) = self.kubernetes_name(key) {
            let start = Key { namespace: key.namespace.clone(), name: Arc::from(name), cluster: ClusterId::default() };
            let rows = store.services.range(&mut Cx::default(), start..);
            let rows: Vec<_> = rows.take_while(|(row, _)| row.namespace == key.namespace && &*row.name == name).collect();
            if let Some(service) = kubernetes::service(store, &self.domain, &rows) {
                return Some(service);
            }
        }
        let mut candidates =
            self.entries_of(store, key).flat_map(|(_, entry)| service_entry::services(store, entry)).filter(|s| s.key == *key);
        let mut service = candidates.next()?;
        for other in candidates {
            let mergeable =
                other.resolution == service.resolution && other.visibility == service.visibility && other.labels == service.labels;
            if mergeable {
                let further: Vec<_> = other.ports.into_iter().filter(|port| service.port(port.number).is_none()).collect();
                service.ports = service.ports.into_iter().chain(further).collect();
            }
        }
        Some(service)
    }

    /// The ServiceEntries that declare this service, the oldest first.
    fn entries_of<'a>(&'a self, store: &'a Store, key: &'a ServiceKey) -> impl Iterator<Item = (&'a Key, &'a Arc<Object<ServiceEntry>>)> {
        let cx = &mut Cx::default();
        let rows = self.index.entries.by(key).filter_map(|entry| Some((entry, store.service_entries.get(cx, entry)?)));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|(entry, object)| (object.metadata.creation_timestamp, *entry));
        rows.into_iter()
    }

    fn build_endpoints(&mut self, store: &Store, service: &Service) -> Vec<Endpoint> {
        let cx = &mut Cx::default();
        let mut out = Vec::new();
        let mut pods = BTreeSet::new();
        let slices: Vec<Key> = self.index.slices.by(&service.key).cloned().collect();
        if service.provider == Provider::Kubernetes {
            for key in &slices {
                let Some(slice) = store.endpoint_slices.get(cx, key) else { continue };
                pods.extend(slice.spec.endpoints.iter().filter_map(|endpoint| kubernetes::pod_key(&key.cluster, slice, endpoint)));
                out.extend(kubernetes::endpoints(store, service, &key.cluster, slice));
            }
            if store.features.services_select_workload_entries {
                out.extend(selected_entries(store, service));
            }
            out.sort_by(|a, b| a.workload.cluster.cmp(&b.workload.cluster));
            // A pod may stand in several slices.
            let mut seen = BTreeSet::new();
            let identity = |endpoint: &Endpoint| (endpoint.address.clone(), endpoint.port, endpoint.service_port.clone());
            out.retain(|endpoint| endpoint.address.is_empty() || seen.insert(identity(endpoint)));
        }
        for (key, entry) in self.entries_of(store, &service.key) {
            out.extend(service_entry::endpoints(store, &key.cluster, entry, &service.key.hostname));
        }
        self.index.pods.replace(&service.key, pods);
        out.shrink_to_fit();
        out
    }
}

/// The WorkloadEntries that a Kubernetes Service selects.
fn selected_entries(store: &Store, service: &Service) -> Vec<Endpoint> {
    if service.selector.is_empty() {
        return Vec::new();
    }
    let start = Key { namespace: service.key.namespace.clone(), name: Arc::default(), cluster: ClusterId::default() };
    let rows = store.workload_entries.range(&mut Cx::default(), start..);
    let mut out = Vec::new();
    for (key, entry) in rows.take_while(|(key, _)| key.namespace == service.key.namespace) {
        let workload = Arc::new(crate::workload::of_entry(store, &key.cluster, &entry.metadata, &entry.spec));
        let address = Address::parse(&entry.spec.address);
        // Without an address it can be reached through the gateway of its network.
        if !workload.labels.contain_all(&service.selector) || !(matches!(address, Address::Ip(_)) || address.is_empty()) {
            continue;
        }
        for port in &service.ports {
            let mapped = entry.spec.ports.get(&*port.name).and_then(|port| u16::try_from(*port).ok());
            let target = match &port.target {
                crate::TargetPort::Number(number) => *number,
                crate::TargetPort::Name(name) => entry.spec.ports.get(&**name).and_then(|p| u16::try_from(*p).ok()).unwrap_or(port.number),
            };
            out.push(Endpoint {
                address: address.clone(),
                port: mapped.unwrap_or(target),
                service_port: port.name.clone(),
                service_port_number: 0,
                health: crate::Health::Unknown,
                weight: entry.spec.weight,
                workload: workload.clone(),
            });
        }
    }
    out
}

/// By address, where these endpoints are.
fn places_of(endpoints: Option<&Vec<Endpoint>>) -> BTreeMap<IpAddr, &Locality> {
    let endpoints = endpoints.into_iter().flatten();
    endpoints.flat_map(|endpoint| endpoint.addresses().map(move |address| (address, &endpoint.workload.locality))).collect()
}

/// By address, which ports of the service these endpoints serve, each port once.
fn targets_of(endpoints: Option<&Vec<Endpoint>>, key: &ServiceKey, service: Option<&Service>) -> BTreeMap<IpAddr, Vec<ServiceTarget>> {
    let mut targets: BTreeMap<IpAddr, Vec<ServiceTarget>> = BTreeMap::new();
    for endpoint in endpoints.into_iter().flatten() {
        let ports = service.into_iter().flat_map(|service| &service.ports).filter(|port| endpoint.serves(&port.name, port.number));
        let served: Vec<_> = ports.map(|port| ServiceTarget { service: key.clone(), port: port.number, target: endpoint.port }).collect();
        for address in endpoint.addresses() {
            let list = targets.entry(address).or_default();
            for target in &served {
                if !list.contains(target) {
                    list.push(target.clone());
                }
            }
        }
    }
    targets
}
