//! Starts the sources that the flags name.

use crate::arguments::Discovery;
use anyhow::Context;
use base::{ClusterId, Namespace};
use clap::Args;
use config::{Change, Event, file};
use istio_api::mesh::mesh_config::LabelSelector;
use kube_source::{Access, MeshSettings, Metrics, Options};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::{mpsc, watch};

/// The flags of the Kubernetes source.
#[derive(Args, Debug, Clone)]
pub struct KubernetesArguments {
    /// A kubeconfig, for a control plane outside of the cluster; inside, the service account of the pod is used
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// The only namespaces that are watched, beside istiod's own; all by default
    #[arg(long = "appNamespace", short = 'a', env = "ISTIO_WATCH_NAMESPACE", value_delimiter = ',')]
    pub app_namespaces: Vec<String>,
    /// Set by Kubernetes in every pod
    #[arg(skip = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some())]
    pub in_pod: bool,
}

/// What has been started.
pub struct Started {
    /// How many sources will say that they have synced.
    pub sources: usize,
    /// The configuration cluster, if there is one.
    pub kubernetes: Option<kube::Client>,
}

/// One folder of objects.
struct Folder {
    cluster: ClusterId,
    path: PathBuf,
}

/// What a source other than Kubernetes says of the discovery selectors.
type Selectors = watch::Receiver<Option<Arc<[LabelSelector]>>>;

/// Starts one task for each folder, for the cluster and for the mesh-wide settings. A folder that does not exist is an
/// error for `--configDir` and means no remote clusters otherwise.
pub async fn start(arguments: &Discovery, out: &mpsc::Sender<Vec<Event>>, registry: &prometheus::Registry) -> anyhow::Result<Started> {
    let cluster = ClusterId::new(&arguments.cluster_id);
    let mut folders = Vec::new();
    if let Some(path) = &arguments.config_dir {
        anyhow::ensure!(path.is_dir(), "--configDir {}: no such folder; create it, or name another", path.display());
        folders.push(Folder { cluster: cluster.clone(), path: path.clone() });
    }
    if let Some(path) = arguments.remote_config_dir.as_ref().filter(|path| path.is_dir()) {
        folders.extend(remote(path)?);
    }
    let mut sources = folders.len();
    for folder in folders {
        let out = out.clone();
        tokio::spawn(async move {
            if let Err(error) = file::watch(&folder.path, &folder.cluster, out).await {
                tracing::error!("the folder {} is not followed any more: {error}", folder.path.display());
            }
        });
    }
    let kubernetes = match access(arguments) {
        Some(access) => Some(kube_source::connect(&access).await?),
        None => None,
    };
    // As in Istio, the file has precedence over the ConfigMap, which it usually is a mount of.
    let from_files = kubernetes.is_none() || arguments.mesh_config.exists();
    let selectors = from_files.then(|| settings(arguments, cluster.clone(), out.clone()));
    sources += usize::from(from_files);
    if let Some(client) = &kubernetes {
        let options = options(arguments, cluster, selectors);
        tokio::spawn(kube_source::run(client.clone(), options, Metrics::new(registry)?, out.clone()));
        sources += 1;
    }
    Ok(Started { sources, kubernetes })
}

/// The configuration cluster: of the kubeconfig, else of the pod; none for files alone.
fn access(arguments: &Discovery) -> Option<Access> {
    let kubernetes = &arguments.kubernetes;
    match &kubernetes.kubeconfig {
        Some(path) => Some(Access::Kubeconfig(path.clone())),
        None => (kubernetes.in_pod && arguments.config_dir.is_none()).then_some(Access::InCluster),
    }
}

fn options(arguments: &Discovery, cluster: ClusterId, selectors: Option<Selectors>) -> Options {
    let namespaces = arguments.kubernetes.app_namespaces.iter().map(|namespace| namespace.trim());
    Options {
        root_namespace: Namespace::new(&arguments.identity.namespace),
        revision: Arc::from(arguments.identity.revision()),
        namespaces: namespaces.filter(|namespace| !namespace.is_empty()).map(Namespace::new).collect(),
        mesh: selectors.map_or(MeshSettings::ConfigMap, MeshSettings::Elsewhere),
        ..Options::new(cluster)
    }
}

/// Follows the mesh-wide settings. They count as a source of their own: nothing is served before they are read.
fn settings(arguments: &Discovery, cluster: ClusterId, out: mpsc::Sender<Vec<Event>>) -> Selectors {
    let (mesh, networks) = (arguments.mesh_config.clone(), arguments.networks_config.clone());
    let (batches, mut batches_in) = mpsc::channel::<Vec<Event>>(1);
    let (selectors, selectors_in) = watch::channel(None);
    let synced = Event { cluster: cluster.clone(), change: Change::Synced };
    tokio::spawn(async move {
        let mut synced = Some(synced);
        while let Some(mut batch) = batches_in.recv().await {
            for event in &batch {
                if let Change::Mesh(mesh) = &event.change {
                    selectors.send_replace(Some(Arc::from(mesh.discovery_selectors.as_slice())));
                }
            }
            batch.extend(synced.take());
            if out.send(batch).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        if let Err(error) = file::watch_mesh(&mesh, &networks, &cluster, batches).await {
            tracing::error!("the mesh-wide settings are not followed any more: {error}");
        }
    });
    selectors_in
}

/// The clusters of `--remoteConfigDir`.
pub fn remote_clusters(arguments: &Discovery) -> anyhow::Result<Vec<ClusterId>> {
    let folder = arguments.remote_config_dir.as_deref().filter(|path| path.is_dir());
    Ok(folder.map(remote).transpose()?.unwrap_or_default().into_iter().map(|folder| folder.cluster).collect())
}

/// Each sub-folder is the cluster of its name.
fn remote(path: &Path) -> anyhow::Result<Vec<Folder>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| format!("--remoteConfigDir {}", path.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'));
        if let (true, Some(name)) = (path.is_dir(), name) {
            folders.push(Folder { cluster: ClusterId::new(name), path });
        }
    }
    folders.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(folders)
}
