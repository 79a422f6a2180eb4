//! The registry: `registryz` and `endpointShardz`.

use super::{
    Window,
    debug::{Answer, Parameters},
};
use base::{Cidr, Visibility};
use incremental::Cx;
use registry::{Endpoint, Health, Provider, Resolution, Service};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The services, in the shape of Istio's `model.Service`.
pub fn registryz(window: &Window, _: &Parameters) -> Answer {
    let published = window.published();
    Ok(published.snapshot.services.iter(&mut Cx::default()).map(|(_, row)| service(row)).collect())
}

/// The endpoints by host name, namespace of the service and cluster, in the shape of Istio's endpoint index.
pub fn endpoint_shards(window: &Window, _: &Parameters) -> Answer {
    let published = window.published();
    let cx = &mut Cx::default();
    let mut hosts: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
    for (key, endpoints) in published.snapshot.endpoints.iter(&mut Cx::default()) {
        let provider = published.snapshot.services.get(cx, key).map_or(Provider::Kubernetes, |service| service.provider);
        let mut shards: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in endpoints.iter() {
            shards.entry(format!("{}/{}", name(provider), row.workload.cluster)).or_default().push(endpoint(row));
        }
        let accounts: BTreeSet<&str> = endpoints.iter().map(|row| &*row.workload.service_account).filter(|name| !name.is_empty()).collect();
        let accounts: Map<String, Value> = accounts.into_iter().map(|account| (account.to_string(), json!({}))).collect();
        let shards = json!({"Shards": shards, "ServiceAccounts": accounts});
        hosts.entry(key.hostname.as_str()).or_default().insert(key.namespace.as_str(), shards);
    }
    Ok(json!(hosts))
}

fn service(service: &Service) -> Value {
    let addresses: BTreeMap<&str, Vec<String>> =
        service.addresses.iter().map(|(cluster, all)| (cluster.as_str(), all.iter().map(address).collect())).collect();
    let first = service.addresses.iter().flat_map(|(_, own)| own).next().map_or_else(|| "0.0.0.0".to_string(), address);
    let ports: Vec<_> =
        service.ports.iter().map(|port| json!({"name": *port.name, "port": port.number, "protocol": port.protocol.as_str()})).collect();
    let mut fields = json!({
        "Attributes": {
            "ServiceRegistry": name(service.provider),
            "Name": *service.name,
            "Namespace": service.key.namespace.as_str(),
            "Labels": service.labels,
            "ExportTo": export_to(&service.visibility),
            "LabelSelectors": service.selector,
        },
        "ports": ports,
        "hostname": service.key.hostname.as_str(),
        "clusterVIPs": {"Addresses": addresses},
        "defaultAddress": first,
        "Resolution": resolution(&service.resolution),
        "MeshExternal": service.mesh_external,
        "origin": service.origin,
    });
    if let Value::Object(fields) = &mut fields {
        let created = service.created.and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
        if let Some(created) = created {
            fields.insert("creationTime".into(), super::timestamp::rfc3339(created.into()).into());
        }
        for automatic in &service.auto_addresses {
            let field = if automatic.is_ipv4() { "autoAllocatedIPv4Address" } else { "autoAllocatedIPv6Address" };
            fields.insert(field.into(), automatic.to_string().into());
        }
    }
    fields
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let workload = &endpoint.workload;
    json!({
        "Labels": workload.labels,
        "Addresses": [endpoint.address.to_string()],
        "ServicePortName": *endpoint.service_port,
        "ServiceAccount": *workload.service_account,
        "Network": workload.network.as_str(),
        "Locality": {"Label": workload.locality.to_string(), "ClusterID": workload.cluster.as_str()},
        "EndpointPort": endpoint.port,
        "LbWeight": endpoint.weight,
        "TLSMode": if workload.mutual_tls { "istio" } else { "disabled" },
        "Namespace": workload.namespace.as_str(),
        "WorkloadName": *workload.name,
        "HostName": *workload.hostname,
        "HealthStatus": health(endpoint.health),
        "NodeName": *workload.node,
    })
}

/// A single address without the length of its prefix.
fn address(cidr: &Cidr) -> String {
    if cidr.is_host() { cidr.0.addr().to_string() } else { cidr.to_string() }
}

fn name(provider: Provider) -> &'static str {
    match provider {
        Provider::Kubernetes => "Kubernetes",
        Provider::External => "External",
    }
}

/// The namespaces as Go prints a set.
fn export_to(visibility: &Visibility) -> Value {
    match visibility {
        Visibility::Public => json!({"*": {}}),
        Visibility::Namespaces(names) => names.iter().map(|name| (name.to_string(), json!({}))).collect::<Map<_, _>>().into(),
    }
}

/// Istio's numbers.
fn resolution(resolution: &Resolution) -> u8 {
    match resolution {
        Resolution::Static => 0,
        Resolution::Dns => 1,
        Resolution::Passthrough => 2,
        Resolution::DnsRoundRobin => 3,
        Resolution::Alias(_) => 4,
        Resolution::DynamicDns => 5,
    }
}

/// Istio's numbers.
fn health(health: Health) -> u8 {
    match health {
        Health::Unknown => 0,
        Health::Healthy => 1,
        Health::Unhealthy => 2,
        Health::Draining => 3,
    }
}
