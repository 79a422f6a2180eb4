//! Starts the sources that the flags name.

use crate::arguments::Discovery;
use anyhow::Context;
use base::ClusterId;
use config::{Change, Event, file};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// One folder of objects.
struct Folder {
    cluster: ClusterId,
    path: PathBuf,
}

/// Starts one task for each folder and one for the mesh-wide settings; returns how many of them will say that they have
/// synced. A folder that does not exist is an error for `--configDir` and means no remote clusters otherwise.
pub fn start(arguments: &Discovery, out: &mpsc::Sender<Vec<Event>>) -> anyhow::Result<usize> {
    let cluster = ClusterId::new(&arguments.cluster_id);
    let mut folders = Vec::new();
    if let Some(path) = &arguments.config_dir {
        anyhow::ensure!(path.is_dir(), "--configDir {}: no such folder; create it, or name another", path.display());
        folders.push(Folder { cluster: cluster.clone(), path: path.clone() });
    }
    if let Some(path) = arguments.remote_config_dir.as_ref().filter(|path| path.is_dir()) {
        folders.extend(remote(path)?);
    }
    let sources = folders.len();
    for folder in folders {
        let out = out.clone();
        tokio::spawn(async move {
            if let Err(error) = file::watch(&folder.path, &folder.cluster, out).await {
                tracing::error!("the folder {} is not followed any more: {error}", folder.path.display());
            }
        });
    }
    settings(arguments, cluster, out.clone());
    Ok(sources + 1)
}

/// Follows the mesh-wide settings. They count as a source of their own: nothing is served before they are read.
fn settings(arguments: &Discovery, cluster: ClusterId, out: mpsc::Sender<Vec<Event>>) {
    let (mesh, networks) = (arguments.mesh_config.clone(), arguments.networks_config.clone());
    let (batches, mut batches_in) = mpsc::channel::<Vec<Event>>(1);
    let synced = Event { cluster: cluster.clone(), change: Change::Synced };
    tokio::spawn(async move {
        let mut synced = Some(synced);
        while let Some(mut batch) = batches_in.recv().await {
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
