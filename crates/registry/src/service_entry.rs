//! ServiceEntries, with the WorkloadEntries and Pods that they select.

use crate::{
    Endpoint, EndpointWorkload, Health, Provider, Resolution, Service, ServiceKey, ServicePort, TargetPort, address, entry_visibility,
    workload,
};
use base::{Address, Cidr, ClusterId, Hostname, Labels, PortNumber, Protocol, Selector, Visibility};
use config::{Key, Store};
use incremental::Cx;
use istio_api::kubernetes::pod::PodStatus;
use istio_api::networking::service_entry::{self as api, ServiceEntry};
use istio_api::{Metadata, Object};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// The services of one ServiceEntry, one for each host.
pub fn services(store: &Store, object: &Object<ServiceEntry>) -> Vec<Service> {
    object.spec.hosts.iter().filter(|host| !host.is_empty() && *host != "*").map(|host| service(store, object, host)).collect()
}

fn service(store: &Store, object: &Object<ServiceEntry>, host: &str) -> Service {
    let (metadata, spec) = (&object.metadata, &object.spec);
    let hostname = Hostname::new(host);
    let own: Box<[Cidr]> = spec.addresses.iter().filter_map(|text| text.parse().ok()).collect();
    let auto_addresses = if own.is_empty() { allocated(object, &hostname) } else { Vec::new() };
    let export_to = spec.export_to.iter().map(String::as_str);
    Service {
        key: ServiceKey { hostname: hostname.clone(), namespace: metadata.namespace.clone() },
        provider: Provider::External,
        origin: object.object_ref(),
        name: Arc::from(hostname.as_str()),
        ports: spec.ports.iter().filter_map(port).collect(),
        resolution: match spec.resolution {
            api::Resolution::None => Resolution::Passthrough,
            api::Resolution::Static => Resolution::Static,
            api::Resolution::Dns => Resolution::Dns,
            api::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
            api::Resolution::DynamicDns => Resolution::DynamicDns,
        },
        addresses: if own.is_empty() { Box::default() } else { Box::from([(ClusterId::default(), own)]) },
        auto_addresses,
        mesh_external: spec.location == api::Location::MeshExternal,
        headless: false,
        visibility: entry_visibility::clamp(
            store,
            &metadata.namespace,
            Visibility::resolve(export_to, &metadata.namespace, &store.mesh.default_service_export_to),
        ),
        created: metadata.creation_timestamp.map(|time| time.0),
        labels: metadata.labels.clone(),
        selector: spec.workload_selector.as_ref().map(|selector| Labels::from(&selector.labels)).unwrap_or_default(),
        publish_not_ready: false,
        node_local: false,
        traffic_distribution: metadata
            .annotations
            .get("networking.istio.io/traffic-distribution")
            .filter(|text| !text.is_empty())
            .map(|text| Arc::from(text.as_str())),
        subject_alt_names: spec.subject_alt_names.clone(),
        race_first_connect: metadata.annotations.get("istio.io/connect-strategy").is_some_and(|text| text == "RACE_FIRST_TCP_CONNECT"),
    }
}

/// The addresses in the status, else those derived from the name; none where Istio gives none (`NONE`, wildcards, or
/// the label that says no).
fn allocated(object: &Object<ServiceEntry>, hostname: &Hostname) -> Vec<IpAddr> {
    let written = object.status.addresses.iter().filter(|address| address.host == hostname.as_str());
    let written: Vec<IpAddr> = written.filter_map(|address| address.value.parse().ok()).collect();
    let refused = object.metadata.labels.get("networking.istio.io/enable-autoallocate-ip") == Some("false");
    let wildcard = hostname.is_wildcard() && object.spec.resolution != api::Resolution::DynamicDns;
    if !written.is_empty() {
        written
    } else if refused || wildcard || object.spec.resolution == api::Resolution::None {
        Vec::new()
    } else {
        address::automatic(&object.metadata.namespace, hostname)
    }
}

fn port(port: &api::ServicePort) -> Option<ServicePort> {
    let number = PortNumber::try_from(port.number).ok().filter(|number| *number != 0)?;
    let target = PortNumber::try_from(port.target_port).ok().filter(|target| *target != 0).unwrap_or(number);
    Some(ServicePort {
        number,
        name: Arc::from(port.name.as_str()),
        protocol: Protocol::parse(&port.protocol),
        target: TargetPort::Number(target),
    })
}

/// The endpoints of one host of a ServiceEntry: written into it, selected by it, or for DNS without either the host
/// itself.
pub fn endpoints(store: &Store, cluster: &ClusterId, object: &Object<ServiceEntry>, host: &Hostname) -> Vec<Endpoint> {
    let spec = &object.spec;
    let dns = matches!(spec.resolution, api::Resolution::Dns | api::Resolution::DnsRoundRobin);
    let mut out = Vec::new();
    for (index, entry) in spec.endpoints.iter().enumerate() {
        let workload = Arc::new(workload::of_entry(store, cluster, &inline(&object.metadata, index), entry));
        push(&mut out, spec, &Address::parse(&entry.address), &entry.ports, entry.weight, Health::Unknown, &workload);
    }
    if let Some(selector) = &spec.workload_selector {
        let selector = Selector::new(selector.labels.clone());
        for (key, entry) in namespace_rows(&store.workload_entries, &object.metadata) {
            let workload = Arc::new(workload::of_entry(store, &key.cluster, &entry.metadata, &entry.spec));
            if selector.selects(&workload.labels) {
                push(
                    &mut out,
                    spec,
                    &Address::parse(&entry.spec.address),
                    &entry.spec.ports,
                    entry.spec.weight,
                    Health::Unknown,
                    &workload,
                );
            }
        }
        for (key, pod) in namespace_rows(&store.pods, &object.metadata).filter(|_| store.features.service_entries_select_pods) {
            let selected = selector.selects(&pod.metadata.labels) && takes_requests(&pod.status);
            if let (true, Ok(ip)) = (selected, pod.status.pod_ip.parse()) {
                let workload = Arc::new(workload::of_pod(store, &key.cluster, pod));
                push(&mut out, spec, &Address::Ip(ip), &BTreeMap::new(), 0, Health::Healthy, &workload);
            }
        }
    } else if dns && spec.endpoints.is_empty() && !host.is_wildcard() {
        let (name, namespace) = (object.metadata.name.clone(), object.metadata.namespace.clone());
        let workload = EndpointWorkload { name, namespace, cluster: cluster.clone(), ..Default::default() };
        push(&mut out, spec, &Address::Dns(Arc::from(host.as_str())), &BTreeMap::new(), 0, Health::Unknown, &Arc::new(workload));
    }
    if !dns {
        // A static endpoint with a name cannot be sent over EDS.
        out.retain(|endpoint| !matches!(endpoint.address, Address::Dns(_)) || endpoint.address.is_empty());
    }
    out
}

/// No slice says for these pods whether they are ready, so that they do themselves (Istio's `shouldPodBeInEndpoints` and
/// `IsPodReady`).
fn takes_requests(status: &PodStatus) -> bool {
    let ready = status.conditions.iter().find(|condition| condition.condition_type == "Ready");
    !status.has_ended() && ready.is_none_or(|condition| condition.status == "True")
}

/// An endpoint inside a ServiceEntry has the entry's namespace, its name with the place in the list, and not its labels.
fn inline(metadata: &Metadata, index: usize) -> Metadata {
    let name = Arc::from(format!("{}-{index}", metadata.name));
    Metadata { name, namespace: metadata.namespace.clone(), ..Metadata::default() }
}

fn namespace_rows<'a, T: istio_api::Resource>(
    table: &'a incremental::Table<Key, Object<T>>,
    metadata: &'a Metadata,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Object<T>>)> {
    let start = Key { namespace: metadata.namespace.clone(), name: Arc::default(), cluster: ClusterId::default() };
    table.range(&mut Cx::default(), start..).take_while(|(key, _)| key.namespace == metadata.namespace)
}

/// One endpoint for each port: the entry's own mapping by port name, else the target port, else the number.
fn push(
    out: &mut Vec<Endpoint>,
    spec: &ServiceEntry,
    address: &Address,
    ports: &BTreeMap<String, u32>,
    weight: u32,
    health: Health,
    workload: &Arc<EndpointWorkload>,
) {
    for declared in &spec.ports {
        let mapped = ports.get(&declared.name).copied().filter(|port| *port != 0);
        let target = mapped.unwrap_or(if declared.target_port != 0 { declared.target_port } else { declared.number });
        let port = if matches!(address, Address::Unix(_)) { Ok(0) } else { PortNumber::try_from(target) };
        if let Ok(port) = port {
            out.push(Endpoint {
                address: address.clone(),
                port,
                service_port: Arc::from(declared.name.as_str()),
                service_port_number: PortNumber::try_from(declared.number).unwrap_or_default(),
                health,
                weight,
                workload: workload.clone(),
            });
        }
    }
}
