//! The configuration of one proxy, decoded.

use std::collections::{BTreeMap, BTreeSet};
use xds_api::{
    Wire,
    envoy::config::{cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener, route::v3::RouteConfiguration},
};
use xds_wire::{ResourceType, View};

/// What a proxy was sent, by name.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Listeners.
    pub listeners: BTreeMap<String, Listener>,
    /// Route configurations.
    pub routes: BTreeMap<String, RouteConfiguration>,
    /// Clusters.
    pub clusters: BTreeMap<String, Cluster>,
    /// Endpoints, by the name of their cluster.
    pub endpoints: BTreeMap<String, ClusterLoadAssignment>,
    /// The names of secrets.
    pub secrets: BTreeSet<String>,
}

/// A resource of the view is not what its type says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeError {
    /// The resource.
    pub name: String,
    /// What the decoder says.
    pub message: String,
}

impl Resources {
    /// Decodes what the simulation looks at.
    ///
    /// # Errors
    /// If a resource cannot be decoded, which would be a bug of its builder.
    pub fn from_view(view: &View) -> Result<Self, DecodeError> {
        Ok(Self {
            listeners: decode(view, ResourceType::Listener)?,
            routes: decode(view, ResourceType::Route)?,
            clusters: decode(view, ResourceType::Cluster)?,
            endpoints: decode(view, ResourceType::Endpoint)?,
            secrets: view.of(ResourceType::Secret).iter().map(|secret| secret.name.to_string()).collect(),
        })
    }

    /// Where a cluster's endpoints stand: in itself, or in its assignment.
    pub fn assignment(&self, cluster: &str) -> Option<&ClusterLoadAssignment> {
        let inline = self.clusters.get(cluster).and_then(|cluster| cluster.load_assignment.as_ref());
        inline.or_else(|| self.endpoints.get(cluster))
    }
}

fn decode<T: Wire>(view: &View, kind: ResourceType) -> Result<BTreeMap<String, T>, DecodeError> {
    let one = |resource: &std::sync::Arc<xds_wire::Encoded>| match T::from_bytes(&resource.body()) {
        Ok(message) => Ok((resource.name.to_string(), message)),
        Err(error) => Err(DecodeError { name: resource.name.to_string(), message: error.to_string() }),
    };
    view.of(kind).iter().map(one).collect()
}
