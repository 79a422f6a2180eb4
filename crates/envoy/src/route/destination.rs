//! From a destination, as the user wrote it, to the name of a cluster.

use super::names;
use crate::filter::http::stateful_session::SessionState;
use base::{Hostname, PortNumber};
use istio_api::networking::{destination_rule::ConsistentHashLb, virtual_service::Destination};
use std::{collections::BTreeMap, sync::Arc};
use xds_api::envoy::config::route::v3::route_action::HashPolicy;

/// A destination as the user wrote it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DestinationKey {
    /// The host, possibly a short name.
    pub host: String,
    /// The subset; empty for none.
    pub subset: String,
    /// The port, if one is given.
    pub port: Option<u32>,
}

impl DestinationKey {
    /// The key of `destination`.
    pub fn of(destination: &Destination) -> Self {
        Self { host: destination.host.clone(), subset: destination.subset.clone(), port: destination.port.as_ref().map(|port| port.number) }
    }
}

/// What the mesh knows about a destination.
#[derive(Clone, PartialEq, Debug)]
pub struct ResolvedDestination {
    /// The service in full; for an alias (ExternalName) the concrete service.
    pub hostname: Hostname,
    /// The port of a service that has exactly one; it is used if the destination names none.
    pub only_port: Option<PortNumber>,
    /// How the DestinationRule of the service (port and subset considered) chooses endpoints by hash, if it does.
    pub hash: Option<Arc<ConsistentHashLb>>,
    /// How the service keeps clients with an endpoint, if it does.
    pub session: Option<SessionState>,
}

/// Everything that is known about the destinations of one VirtualService. A destination that is missing here leads to the
/// cluster of its own name, which Envoy then lacks (503) or which an EnvoyFilter has added.
pub type Destinations = BTreeMap<DestinationKey, ResolvedDestination>;

/// How destinations become clusters in one VirtualService on one listener.
pub(super) struct Resolver<'a> {
    pub destinations: &'a Destinations,
    /// Of the VirtualService: short names are its neighbours.
    pub namespace: &'a str,
    pub domain: &'a str,
    /// Stands in where neither destination nor service say a port.
    pub listener_port: PortNumber,
}

/// The cluster of a destination.
pub(super) struct Target {
    /// Its name.
    pub cluster: String,
    /// `host:port` for people, absent for a destination without host.
    pub authority: Option<String>,
    /// The hash by which its endpoints are chosen.
    pub hash: Option<HashPolicy>,
    /// How its clients stay with an endpoint.
    pub session: Option<SessionState>,
}

impl Resolver<'_> {
    /// The cluster of `destination` (Istio's `GetDestinationCluster`).
    pub fn target(&self, destination: &Destination) -> Target {
        if destination.host.is_empty() {
            return Target { cluster: names::UNKNOWN_SERVICE_CLUSTER.to_string(), authority: None, hash: None, session: None };
        }
        let known = self.destinations.get(&DestinationKey::of(destination));
        let hostname =
            known.map_or_else(|| Hostname::resolve(&destination.host, self.namespace, self.domain), |known| known.hostname.clone());
        let wanted = destination.port.as_ref().and_then(|port| PortNumber::try_from(port.number).ok());
        let port = wanted.or_else(|| known.and_then(|known| known.only_port)).unwrap_or(self.listener_port);
        Target {
            cluster: names::outbound_cluster(port, &destination.subset, hostname.as_str()),
            authority: Some(format!("{hostname}:{port}")),
            hash: known.and_then(|known| known.hash.as_deref()).and_then(super::hash::hash_policy),
            session: known.and_then(|known| known.session.clone()),
        }
    }
}
