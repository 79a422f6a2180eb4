//! What is watched, and for whom.

use base::{ClusterId, Namespace};
use istio_api::mesh::mesh_config::LabelSelector;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// The settings of one cluster's source.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster that its events name.
    pub cluster: ClusterId,
    /// The control plane's own namespace (`--namespace`), which always belongs to the mesh.
    pub root_namespace: Namespace,
    /// The control plane's revision (`REVISION`); objects with another one in their label `istio.io/rev` are not ours.
    pub revision: Arc<str>,
    /// The only namespaces that are watched beside the root namespace (`--appNamespace`); none mean all.
    pub namespaces: Vec<Namespace>,
    /// Where the mesh-wide settings come from.
    pub mesh: MeshSettings,
    /// After this time the source says that it has synced although it has not: for remote clusters, without which the
    /// mesh must start (`PILOT_REMOTE_CLUSTER_TIMEOUT`).
    pub sync_limit: Option<Duration>,
}

/// Where the mesh-wide settings come from.
#[derive(Clone, Debug)]
pub enum MeshSettings {
    /// The ConfigMap `istio` (`istio-<revision>`) of the root namespace; its settings become events.
    ConfigMap,
    /// Another source, which tells the discovery selectors here once it knows them.
    Elsewhere(watch::Receiver<Option<Arc<[LabelSelector]>>>),
}

impl Options {
    /// Istio's defaults: everything, and the settings of the ConfigMap.
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            root_namespace: Namespace::new("istio-system"),
            revision: Arc::from("default"),
            namespaces: Vec::new(),
            mesh: MeshSettings::ConfigMap,
            sync_limit: None,
        }
    }

    /// The name of the ConfigMap with the mesh-wide settings.
    pub fn config_map(&self) -> String {
        match &*self.revision {
            "" | "default" => "istio".to_owned(),
            revision => format!("istio-{revision}"),
        }
    }
}
