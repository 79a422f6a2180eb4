//! The mesh-wide settings in their ConfigMap.

use crate::{decode::decode, scope::Selectors, watch::Notice};
use base::{ClusterId, Diagnostic, Level};
use config::{
    Change, Event,
    file::{read_mesh_config, read_mesh_networks},
};
use istio_api::{
    AnyObject, Kind,
    mesh::{MeshConfig, MeshNetworks},
};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// What the ConfigMap said last.
#[derive(Default)]
pub struct Settings {
    mesh: Option<MeshConfig>,
    networks: Option<MeshNetworks>,
    said: Vec<Diagnostic>,
    /// Its entries, as far as they have been read in the list that is not complete.
    entries: Option<[String; 2]>,
}

impl Settings {
    /// Sends settings whenever they change, and tells the discovery selectors, until nobody listens. `pending` is let go
    /// when the first ones have been sent.
    pub async fn run(
        mut self,
        cluster: ClusterId,
        mut notices: mpsc::Receiver<Vec<Notice>>,
        selectors: watch::Sender<Selectors>,
        out: mpsc::Sender<Vec<Event>>,
        pending: mpsc::Sender<()>,
    ) {
        let mut pending = Some(pending);
        while let Some(batch) = notices.recv().await {
            let changes: Vec<Change> = batch.into_iter().flat_map(|notice| self.take(notice)).collect();
            let events: Vec<Event> = changes.into_iter().map(|change| Event { cluster: cluster.clone(), change }).collect();
            if !events.is_empty() && out.send(events).await.is_err() {
                return;
            }
            if let Some(mesh) = &self.mesh {
                let new: Selectors = Some(Arc::from(mesh.discovery_selectors.as_slice()));
                selectors.send_if_modified(|old| {
                    let changed = *old != new;
                    *old = new;
                    changed
                });
                drop(pending.take());
            }
        }
    }

    fn take(&mut self, notice: Notice) -> Vec<Change> {
        match notice {
            // Without a ConfigMap everything has its default.
            Notice::ListBegins => self.entries = Some(<[String; 2]>::default()),
            Notice::Listed(text) => self.entries = Some(entries(&text)),
            Notice::ListEnds => {
                let [mesh, networks] = self.entries.take().unwrap_or_default();
                return self.read(&mesh, &networks);
            }
            Notice::Changed(text) => {
                let [mesh, networks] = entries(&text);
                return self.read(&mesh, &networks);
            }
            Notice::Deleted(_) => return self.read("", ""),
        }
        Vec::new()
    }

    /// Settings with an error do not replace good ones.
    fn read(&mut self, mesh: &str, networks: &str) -> Vec<Change> {
        let good = |diagnostics: &[Diagnostic]| diagnostics.iter().all(|diagnostic| diagnostic.level != Level::Error);
        let source: Arc<str> = Arc::from("mesh");
        let mut changes = Vec::new();
        let (mesh, mut said) = read_mesh_config(&source, mesh);
        if self.mesh.is_none() || good(&said) && self.mesh.as_ref() != Some(&mesh) {
            self.mesh = Some(mesh.clone());
            changes.push(Change::Mesh(Arc::new(mesh)));
        }
        let (networks, diagnostics) = read_mesh_networks(&Arc::from("meshNetworks"), networks);
        if self.networks.is_none() || good(&diagnostics) && self.networks.as_ref() != Some(&networks) {
            self.networks = Some(networks.clone());
            changes.push(Change::Networks(Arc::new(networks)));
        }
        said.extend(diagnostics);
        if said != self.said {
            said.iter().for_each(|diagnostic| tracing::warn!("{diagnostic}"));
            self.said.clone_from(&said);
            changes.push(Change::Findings { source: Arc::from("mesh-wide settings"), diagnostics: said });
        }
        changes
    }
}

/// The two entries that matter, empty where there are none.
fn entries(text: &[u8]) -> [String; 2] {
    let Some(AnyObject::ConfigMap(map)) = decode(Kind::ConfigMap, text).and_then(|decoded| decoded.object) else {
        return <[String; 2]>::default();
    };
    ["mesh", "meshNetworks"].map(|key| map.spec.data.get(key).cloned().unwrap_or_default())
}
