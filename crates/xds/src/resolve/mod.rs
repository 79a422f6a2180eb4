//! Where a snapshot becomes the inputs of builders: one file for each kind of resource.
//!
//! A builder gets its inputs and nothing else, so whatever a resource depends on passes through here. The keys of rows
//! are made of the same values.

pub mod cluster;
pub mod destination;
pub mod domains;
pub mod endpoint;
pub mod gateway;
pub mod inbound;
pub mod options;
pub mod outbound;
pub mod route;
pub mod secret;
pub mod tcp;

use crate::class::ClassKey;
use model::{MergedGateway, MergedRule, SidecarScope, Snapshot};
use registry::Service;
use std::sync::Arc;

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

    /// The service with this host name that the class sees.
    pub fn service(&self, hostname: &base::Hostname) -> Option<&'a Arc<Service>> {
        match self.scope {
            Scope::Sidecar(scope) => scope.services.get(hostname),
            Scope::Router(_) => self.snapshot.service_named(hostname, &self.class.namespace),
        }
    }
}
