//! Where a snapshot becomes the inputs of builders: one file for each kind of resource.
//!
//! A builder gets its inputs and nothing else, so whatever a resource depends on passes through here. The keys of rows
//! are made of the same values.

pub mod auto_passthrough;
pub mod cluster;
pub mod destination;
pub mod domains;
pub mod endpoint;
pub mod gateway;
pub mod inbound;
pub mod opaque;
pub mod options;
pub mod outbound;
pub mod route;
pub mod secret;
pub mod stat_name;
pub mod tcp;

use crate::class::ClassKey;
use base::Cidr;
use model::{IpFamilies, MergedGateway, MergedRule, SidecarScope, Snapshot};
use registry::Service;
use std::{net::IpAddr, sync::Arc};

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
}

impl<'a> View<'a> {
    /// The rule for the class's connections to a service.
    pub fn destination_rule(&self, service: &Service) -> Option<&'a Arc<MergedRule>> {
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

    /// The service with this host name that the class sees.
    pub fn service(&self, hostname: &base::Hostname) -> Option<&'a Arc<Service>> {
        match self.scope {
            Scope::Sidecar(scope) => scope.services.get(hostname),
            Scope::Router(_) => self.snapshot.service_named(hostname, &self.class.namespace),
        }
    }
}
