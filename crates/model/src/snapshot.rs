//! One consistent cut of everything that configuration is made from.

use crate::{Aliases, AttachedPolicies, ClusterLocal, Credential, DestinationRules, PeerAuthentications, VirtualServices};
use base::{DomainSuffix, Labels, Namespace, PortNumber};
use config::{Features, JwksSource, Key};
use incremental::{Cx, Table};
use istio_api::Object;
use istio_api::kubernetes::reference_grant::ReferenceGrant;
use istio_api::mesh::{MeshConfig, MeshNetworks};
use istio_api::networking::{gateway::Gateway, sidecar::Sidecar};
use istio_api::security::{authorization_policy::AuthorizationPolicy, request_authentication::RequestAuthentication};
use registry::{Endpoint, NetworkGateways, Service, ServiceKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Immutable and cheap to clone: every part is shared with the snapshots before and after it.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// The DNS suffix of the cluster.
    pub domain: DomainSuffix,
    /// The mesh-wide settings.
    pub mesh: Arc<MeshConfig>,
    /// The networks.
    pub networks: Arc<MeshNetworks>,
    /// What the process was started with.
    pub features: Arc<Features>,
    /// Through which gateways other networks are entered.
    pub network_gateways: Arc<NetworkGateways>,
    /// The services by host name and namespace.
    pub services: Table<ServiceKey, Service>,
    /// The same, the oldest first: the order in which they win conflicts.
    pub services_by_age: Arc<Vec<Arc<Service>>>,
    /// The names that stand for services.
    pub aliases: Arc<Aliases>,
    /// The services that stay within their cluster.
    pub cluster_local: Arc<ClusterLocal>,
    /// The endpoints of each service.
    pub endpoints: Table<ServiceKey, Vec<Endpoint>>,
    /// The oldest first.
    pub virtual_services: Arc<VirtualServices>,
    /// Merged and indexed.
    pub destination_rules: Arc<DestinationRules>,
    /// The oldest first.
    pub gateways: Arc<Vec<Arc<Object<Gateway>>>>,
    /// Those of them that have a server of mode AUTO_PASSTHROUGH.
    pub passing_gateways: Arc<Vec<Arc<Object<Gateway>>>>,
    /// By namespace, the oldest first.
    pub sidecars: Arc<BTreeMap<Namespace, Vec<Arc<Object<Sidecar>>>>>,
    /// Indexed.
    pub peer_authentications: Arc<PeerAuthentications>,
    /// Who may call whom.
    pub authorization_policies: Arc<AttachedPolicies<AuthorizationPolicy>>,
    /// Which tokens are valid.
    pub request_authentications: Arc<AttachedPolicies<RequestAuthentication>>,
    /// The keys of issuers of tokens that were fetched.
    pub jwks: Arc<BTreeMap<JwksSource, Arc<str>>>,
    /// Credentials of gateways and clients.
    pub credentials: Table<Key, Credential>,
    /// What namespaces let others refer to.
    pub reference_grants: Table<Key, Object<ReferenceGrant>>,
    /// The keys of labels by which any object selects proxies: proxies that differ in no other label are alike.
    pub selecting_labels: Arc<BTreeSet<String>>,
    /// Whether anything prefers endpoints by locality: if not, proxies of all localities are alike.
    pub locality_matters: bool,
    /// Whether anything prefers endpoints of the client's node.
    pub node_matters: bool,
}

impl Snapshot {
    /// What tells proxies apart beside their kind and place: the keys of labels, and whether localities, nodes and networks
    /// count.
    pub fn told_apart_by(&self) -> (Arc<BTreeSet<String>>, [bool; 3]) {
        (self.selecting_labels.clone(), [self.locality_matters, self.node_matters, self.network_matters()])
    }

    /// Whether endpoints of other networks are reached in another way than those of the client's.
    pub fn network_matters(&self) -> bool {
        !self.network_gateways.is_empty()
    }

    /// The namespace of mesh-wide objects.
    pub fn root_namespace(&self) -> Namespace {
        Namespace::new(&self.mesh.root_namespace)
    }

    /// Whether a gateway with these labels passes mutual TLS through by the server's name (AUTO_PASSTHROUGH).
    pub fn passes_by_name(&self, labels: &Labels) -> bool {
        self.passing_gateways.iter().any(|gateway| labels.contain(&gateway.spec.selector))
    }

    /// The endpoints of a service, an empty slice if there are none.
    pub fn endpoints_of(&self, key: &ServiceKey) -> &[Endpoint] {
        self.endpoints.get(&mut Cx::default(), key).map(|rows| rows.as_slice()).unwrap_or_default()
    }

    /// The service that carries this host name: that of the client's own namespace, else Kubernetes' before those of
    /// ServiceEntries, else the oldest.
    pub fn service_named(&self, hostname: &base::Hostname, client: &Namespace) -> Option<&Arc<Service>> {
        let start = ServiceKey { hostname: hostname.clone(), namespace: Namespace::default() };
        let rows = self.services.range(&mut Cx::default(), start..).take_while(|(key, _)| key.hostname == *hostname);
        let visible = rows.map(|(_, service)| service).filter(|service| service.visibility.allows(client));
        visible.min_by_key(|service| (service.key.namespace != *client, service.provider, service.created, service.key.namespace.clone()))
    }
}

/// The number of a port in a user's object, if it can be one.
pub(crate) fn port_number(number: u32) -> Option<PortNumber> {
    PortNumber::try_from(number).ok().filter(|number| *number != 0)
}
