//! One address that serves one port of a service.

use base::{Address, ClusterId, Labels, Locality, Namespace, NetworkId, PortNumber};
use std::{net::IpAddr, sync::Arc};

/// Whether an endpoint takes requests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Health {
    /// Nothing is known: ServiceEntries and WorkloadEntries say nothing about it. It takes requests.
    Unknown,
    /// Ready.
    Healthy,
    /// Not ready; kept so that failover and warming see it.
    Unhealthy,
    /// Terminating and still serving: only sessions that stick to it.
    Draining,
}

/// One endpoint of one port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// Where it is reached.
    pub address: Address,
    /// The port there.
    pub port: PortNumber,
    /// The name of the service port that it serves.
    pub service_port: Arc<str>,
    /// Its number, which tells ports of one name in several ServiceEntries for a host apart; 0 where the name is enough.
    pub service_port_number: PortNumber,
    /// Whether it takes requests.
    pub health: Health,
    /// Share of the load; 0 where the user gave none.
    pub weight: u32,
    /// The workload behind the address, shared by all of its ports.
    pub workload: Arc<EndpointWorkload>,
}

impl Endpoint {
    /// Its further addresses, for clients that have both families; `address` is not among them.
    pub fn additional_addresses(&self) -> &[IpAddr] {
        match (&self.address, self.workload.addresses.split_first()) {
            (Address::Ip(address), Some((first, others))) if address == first => others,
            _ => &[],
        }
    }

    /// Every address at which it is reached.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let own = match self.address {
            Address::Ip(address) => Some(address),
            _ => None,
        };
        own.into_iter().chain(self.additional_addresses().iter().copied())
    }

    /// Whether it serves the service port of this name and number.
    pub fn serves(&self, name: &str, number: PortNumber) -> bool {
        *self.service_port == *name && (self.service_port_number == 0 || self.service_port_number == number)
    }
}

/// What is known of the workload behind an endpoint.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct EndpointWorkload {
    /// The labels that subsets select by.
    pub labels: Labels,
    /// Where it runs.
    pub locality: Locality,
    /// Its network.
    pub network: NetworkId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its namespace.
    pub namespace: Namespace,
    /// The workload that owns the pod (a Deployment's name), else the pod's or entry's own name.
    pub name: Arc<str>,
    /// Its service account; empty if unknown.
    pub service_account: Arc<str>,
    /// Its node; empty if unknown.
    pub node: Arc<str>,
    /// Whether its proxy takes mutual TLS (`security.istio.io/tlsMode: istio`).
    pub mutual_tls: bool,
    /// All addresses of a pod with several, its first one first, where they are one endpoint (`ISTIO_DUAL_STACK`); else none.
    pub addresses: Box<[IpAddr]>,
    /// The pod's host name, for DNS names of single pods of a headless service.
    pub hostname: Arc<str>,
}

impl EndpointWorkload {
    /// The canonical name: label `service.istio.io/canonical-name`, `app.kubernetes.io/name`, `app`, else the name.
    pub fn canonical_name(&self) -> &str {
        ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]
            .into_iter()
            .find_map(|key| self.labels.get(key))
            .unwrap_or(&self.name)
    }

    /// The canonical revision; empty if no label says more.
    pub fn canonical_revision(&self) -> &str {
        ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]
            .into_iter()
            .find_map(|key| self.labels.get(key))
            .unwrap_or_default()
    }
}
