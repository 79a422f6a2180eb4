//! Kubernetes Services and EndpointSlices.

use crate::{Endpoint, EndpointWorkload, Health, Provider, Resolution, Service, ServiceKey, ServicePort, TargetPort, network, workload};
use base::{Address, Cidr, ClusterId, DomainSuffix, Hostname, Labels, Locality, PortNumber, Protocol, SpiffeIdentity, Visibility};
use config::{Key, Store};
use incremental::Cx;
use istio_api::kubernetes::{endpoint_slice, service as api};
use istio_api::{IntOrString, Metadata, Object};
use std::sync::Arc;

/// The label that ties a slice to its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The host name of a Service.
pub fn hostname(name: &str, namespace: &str, domain: &DomainSuffix) -> Hostname {
    Hostname::new(format!("{name}.{namespace}.svc.{domain}"))
}

/// One service out of the Services of that name in all clusters; the first cluster's declaration counts, the others add
/// their addresses.
pub fn service(store: &Store, domain: &DomainSuffix, objects: &[(&Key, &Arc<Object<api::Service>>)]) -> Option<Service> {
    let (_, first) = objects.first()?;
    let (metadata, spec) = (&first.metadata, &first.spec);
    // In the order of the clusters, which is that of the keys.
    let addresses = objects.iter().filter_map(|(key, object)| {
        let own: Box<[Cidr]> = virtual_addresses(&object.spec).collect();
        (!own.is_empty()).then(|| (key.cluster.clone(), own))
    });
    let addresses = addresses.collect();
    let headless = spec.service_type != "ExternalName" && is_headless(spec);
    let export_to = metadata.annotations.get("networking.istio.io/exportTo").map(String::as_str).unwrap_or_default();
    Some(Service {
        key: ServiceKey { hostname: hostname(&metadata.name, metadata.namespace.as_str(), domain), namespace: metadata.namespace.clone() },
        provider: Provider::Kubernetes,
        origin: first.object_ref(),
        name: metadata.name.clone(),
        ports: spec.ports.iter().filter_map(port).collect(),
        resolution: match spec.service_type.as_str() {
            "ExternalName" => Resolution::Alias(Hostname::new(&spec.external_name)),
            _ if headless => Resolution::Passthrough,
            _ => Resolution::Static,
        },
        addresses,
        auto_addresses: Vec::new(),
        mesh_external: false,
        headless,
        visibility: Visibility::resolve(export_to.split(','), &metadata.namespace, &store.mesh.default_service_export_to),
        created: metadata.creation_timestamp.map(|time| time.0),
        labels: metadata.labels.clone(),
        selector: Labels::from(&spec.selector),
        publish_not_ready: spec.publish_not_ready_addresses,
        node_local: spec.internal_traffic_policy == "Local",
        traffic_distribution: traffic_distribution(first),
        subject_alt_names: declared_accounts(store, metadata),
        race_first_connect: false,
    })
}

/// Who else may serve it: annotations from times in which endpoints did not say so themselves. Of the first, names are
/// service accounts of the namespace; the second has them in full.
fn declared_accounts(store: &Store, metadata: &Metadata) -> Vec<String> {
    let listed = |key: &str| {
        let text = metadata.annotations.get(key).map(String::as_str).unwrap_or_default();
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let own = listed("alpha.istio.io/kubernetes-serviceaccounts").into_iter().map(|service_account| {
        let (trust_domain, namespace) = (store.mesh.trust_domain.clone(), metadata.namespace.to_string());
        SpiffeIdentity { trust_domain, namespace, service_account }.to_string()
    });
    own.chain(listed("alpha.istio.io/canonical-serviceaccounts")).collect()
}

fn traffic_distribution(object: &Object<api::Service>) -> Option<Arc<str>> {
    let annotation = object.metadata.annotations.get("networking.istio.io/traffic-distribution");
    annotation.or(Some(&object.spec.traffic_distribution)).filter(|text| !text.is_empty()).map(|text| Arc::from(text.as_str()))
}

/// Said in so many words: a Service whose address is not known yet is none.
fn is_headless(spec: &api::Service) -> bool {
    spec.cluster_ip == "None" || spec.cluster_ips.first().is_some_and(|ip| ip == "None")
}

fn virtual_addresses(spec: &api::Service) -> impl Iterator<Item = Cidr> {
    let listed = if spec.cluster_ips.is_empty() { std::slice::from_ref(&spec.cluster_ip) } else { &spec.cluster_ips };
    listed.iter().filter(|text| !text.is_empty() && *text != "None").filter_map(|text| text.parse().ok())
}

fn port(port: &api::ServicePort) -> Option<ServicePort> {
    let number = PortNumber::try_from(port.port).ok().filter(|number| *number != 0)?;
    Some(ServicePort {
        number,
        name: Arc::from(port.name.as_str()),
        protocol: Protocol::of_service_port(number, &port.name, &port.protocol, port.app_protocol.as_deref()),
        target: match &port.target_port {
            Some(IntOrString::Int(target)) => {
                TargetPort::Number(PortNumber::try_from(*target).ok().filter(|target| *target != 0).unwrap_or(number))
            }
            Some(IntOrString::String(name)) => TargetPort::Name(Arc::from(name.as_str())),
            None => TargetPort::Number(number),
        },
    })
}

/// The endpoints of one slice. A pod that is not known yet gives an endpoint without labels, rather than none.
pub fn endpoints(store: &Store, service: &Service, cluster: &ClusterId, slice: &Object<endpoint_slice::EndpointSlice>) -> Vec<Endpoint> {
    if slice.spec.address_type == "FQDN" {
        return Vec::new();
    }
    // Shared by all endpoints of the slice.
    let ports = slice.spec.ports.iter().filter_map(|port| {
        let number = PortNumber::try_from(port.port?).ok()?;
        Some((number, Arc::from(port.name.as_deref().unwrap_or_default())))
    });
    let ports: Vec<(PortNumber, Arc<str>)> = ports.collect();
    let mut out = Vec::new();
    for endpoint in &slice.spec.endpoints {
        let Some(health) = health(service, &endpoint.conditions) else { continue };
        let workload = Arc::new(workload_of(store, cluster, slice, endpoint));
        // A name here would make Envoy refuse the endpoints of the service.
        let Some(address) = endpoint.addresses.first().and_then(|text| text.parse().ok()) else { continue };
        // The slices of both families tell of the same pod, which is one endpoint at its first address.
        let first = workload.addresses.first().filter(|_| workload.addresses.contains(&address));
        let address = Address::Ip(first.copied().unwrap_or(address));
        for (number, name) in &ports {
            out.push(Endpoint {
                address: address.clone(),
                port: *number,
                service_port: name.clone(),
                service_port_number: 0,
                health,
                weight: 0,
                workload: workload.clone(),
            });
        }
    }
    out
}

/// Terminating endpoints are gone, except for sessions that stick to them; those that are not ready stay as unhealthy.
fn health(service: &Service, conditions: &endpoint_slice::EndpointConditions) -> Option<Health> {
    let terminating = conditions.terminating.unwrap_or(false);
    let serving = conditions.serving.unwrap_or(conditions.ready.unwrap_or(true));
    match (conditions.ready.unwrap_or(true), terminating) {
        (true, _) => Some(Health::Healthy),
        _ if service.publish_not_ready && !terminating => Some(Health::Healthy),
        (false, true) if serving && service.keeps_sessions() => Some(Health::Draining),
        (false, true) => None,
        (false, false) => Some(Health::Unhealthy),
    }
}

/// The pod that a slice's endpoint refers to.
pub fn pod_key(cluster: &ClusterId, slice: &Object<endpoint_slice::EndpointSlice>, endpoint: &endpoint_slice::Endpoint) -> Option<Key> {
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod")?;
    let namespace = if target.namespace.is_empty() { slice.metadata.namespace.clone() } else { target.namespace.as_str().into() };
    Some(Key { namespace, name: Arc::from(target.name.as_str()), cluster: cluster.clone() })
}

fn workload_of(
    store: &Store,
    cluster: &ClusterId,
    slice: &Object<endpoint_slice::EndpointSlice>,
    endpoint: &endpoint_slice::Endpoint,
) -> EndpointWorkload {
    let pod = pod_key(cluster, slice, endpoint).and_then(|key| store.pods.get(&mut Cx::default(), &key));
    let mut workload = match pod {
        Some(pod) => workload::of_pod(store, cluster, pod),
        None => EndpointWorkload {
            cluster: cluster.clone(),
            node: Arc::from(endpoint.node_name.as_deref().unwrap_or_default()),
            network: network::network(store, cluster, &Labels::default(), endpoint.addresses.first().and_then(|text| text.parse().ok())),
            locality: Locality { zone: Arc::from(endpoint.zone.as_deref().unwrap_or_default()), ..Locality::default() },
            ..EndpointWorkload::default()
        },
    };
    if let Some(hostname) = &endpoint.hostname {
        workload.hostname = Arc::from(hostname.as_str());
    }
    workload
}
