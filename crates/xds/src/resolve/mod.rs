//! Where a snapshot becomes the inputs of builders: one file for each kind of resource.
//!
//! A builder gets its inputs and nothing else, so whatever a resource depends on passes through here. The keys of rows
//! are made of the same values.

pub mod authentication;
pub mod authorization;
pub mod auto_passthrough;
pub mod cluster;
pub mod destination;
pub mod domains;
pub mod endpoint;
pub mod gateway;
pub mod inbound;
pub mod local_cluster;
pub mod misdirected;
pub mod opaque;
pub mod options;
pub mod outbound;
pub mod quic;
pub mod referenced;
pub mod route;
pub mod secret;
pub mod stat_name;
pub mod tcp;
pub mod virtual_host;

use crate::class::ClassKey;
use base::{Cidr, Hostname};
use envoy::tls::{SecretNames, needs_agent};
use incremental::Reads;
use istio_api::mesh::ProxyConfig;
use model::{Certificates, EgressListener, IpFamilies, MergedGateway, MergedRule, SidecarScope, Snapshot, VirtualService};
use registry::{Endpoint, Service, ServiceKey};
use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
};
use xds_api::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;

/// What one class sees.
pub enum Scope {
    /// A sidecar.
    Sidecar(SidecarScope),
    /// A gateway; it sees every service that is exported to its namespace.
    Router(MergedGateway),
}

/// The reading end of a generation: a snapshot as one class sees it.
pub struct View<'a> {
    /// Everything.
    pub snapshot: &'a Snapshot,
    /// Who asks.
    pub class: &'a ClassKey,
    /// What it sees.
    pub scope: &'a Scope,
    /// The host names that were looked up: what is made of them is made again when their services, endpoints or
    /// DestinationRules change. Whatever is not looked up by host name is a setting: all is made again when that changes.
    pub reads: Reads,
    /// The hosts whose rules were looked up.
    pub ruled: RuledHosts,
    /// The secrets that were named.
    pub secrets: WantedSecrets,
    config: OnceCell<Option<Box<ProxyConfig>>>,
}

/// Records the secrets that listeners want.
#[derive(Default)]
pub struct WantedSecrets(RefCell<SecretNames>);

impl WantedSecrets {
    /// What was recorded since the last call.
    pub fn take(&self) -> SecretNames {
        self.0.take()
    }

    /// Records those of a context; `false` if the context cannot be, because it takes an agent that the proxy does not have.
    fn want(&self, certificates: Certificates, context: &DownstreamTlsContext) -> bool {
        let Some(common) = &context.common_tls_context else { return true };
        if certificates == Certificates::None && needs_agent(common) {
            return false;
        }
        self.0.borrow_mut().extend(SecretNames::of(common));
        true
    }
}

/// Records the host names whose rules a computation looks up.
#[derive(Default)]
pub struct RuledHosts(RefCell<BTreeSet<Hostname>>);

impl RuledHosts {
    /// What was recorded since the last call.
    pub fn take(&self) -> BTreeSet<Hostname> {
        self.0.take()
    }
}

impl<'a> View<'a> {
    /// A view in which nothing was looked up yet.
    pub fn new(snapshot: &'a Snapshot, class: &'a ClassKey, scope: &'a Scope) -> Self {
        Self {
            snapshot,
            class,
            scope,
            reads: Reads::default(),
            ruled: RuledHosts::default(),
            secrets: WantedSecrets::default(),
            config: OnceCell::new(),
        }
    }

    /// The rules of a listener that may be about a host, the first first.
    pub fn rules<'b>(&self, listener: &'b EgressListener, host: &'b Hostname) -> impl Iterator<Item = &'b Arc<VirtualService>> + use<'b> {
        self.ruled.0.borrow_mut().insert(host.clone());
        listener.virtual_services.iter().filter(|vs| vs.hosts.iter().any(|own| own.matches(host)))
    }

    /// The service of this key, whoever may see it.
    pub fn service_of(&self, key: &ServiceKey) -> Option<&'a Arc<Service>> {
        self.reads.record(&key.hostname);
        self.snapshot.services.get(&mut incremental::Cx::default(), key)
    }

    /// The endpoints of a service.
    pub fn endpoints_of(&self, key: &ServiceKey) -> &'a [Endpoint] {
        self.reads.record(&key.hostname);
        self.snapshot.endpoints_of(key)
    }

    /// The rule for the class's connections to a service.
    pub fn destination_rule(&self, service: &Service) -> Option<&'a Arc<MergedRule>> {
        self.reads.record(&service.key.hostname);
        self.snapshot.destination_rules.lookup(&self.class.namespace, &self.class.labels, &self.snapshot.root_namespace(), service)
    }

    /// The virtual addresses of a service for the class: those of its own cluster, else the automatic ones if its agent
    /// answers DNS with them, else those of any cluster (Istio's `GetAddressForProxy`).
    pub fn addresses(&self, service: &Service) -> Vec<Cidr> {
        let declared = service.addresses_in(&self.class.cluster);
        if declared.is_empty() && self.class.dns_capture {
            let usable = |address: &&IpAddr| match self.class.families {
                IpFamilies::V4 => address.is_ipv4(),
                IpFamilies::V6 => address.is_ipv6(),
                IpFamilies::Dual => true,
            };
            return service.auto_addresses.iter().filter(usable).map(|address| Cidr::from(*address)).collect();
        }
        declared.to_vec()
    }

    /// The settings of the proxy: its own, else the mesh's.
    pub fn proxy_config(&self) -> &ProxyConfig {
        let own = self.config.get_or_init(|| {
            let json = serde_json::from_str(self.class.proxy_config.as_deref()?).ok()?;
            ProxyConfig::from_yaml_value(json).ok().map(Box::new)
        });
        own.as_deref().unwrap_or(&self.snapshot.mesh.default_config)
    }

    /// The service with this host name that the class sees.
    pub fn service(&self, hostname: &Hostname) -> Option<&'a Arc<Service>> {
        self.reads.record(hostname);
        match self.scope {
            Scope::Sidecar(scope) => scope.services.get(hostname),
            Scope::Router(_) => self.snapshot.service_named(hostname, &self.class.namespace),
        }
    }
}
