//! Roots beside those of our own CA: of `MeshConfig.caCertificates`, of `--caCertFile`, and of signers of Kubernetes.

use crate::pipeline::Published;
use ca::{Bundle, ClientRoots};
use istio_api::mesh::MeshConfig;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// How often the file is read again.
const FILES: Duration = Duration::from_secs(5);

/// The roots that the mesh configuration names. What cannot be read is told, and left out.
pub fn of_mesh(mesh: &MeshConfig) -> (Option<Bundle>, Vec<String>) {
    let mut faults = Vec::new();
    let mut all: Option<Bundle> = None;
    for (index, data) in mesh.ca_certificates.iter().enumerate() {
        let Some(text) = data.pem.as_deref().filter(|text| !text.trim().is_empty()) else { continue };
        match Bundle::parse(text).and_then(|bundle| all.as_ref().map_or(Ok(bundle.clone()), |known| known.with(&bundle))) {
            Ok(bundle) => all = Some(bundle),
            Err(error) => faults.push(format!("caCertificates[{index}].pem of the mesh configuration: {error}")),
        }
    }
    (all, faults)
}

/// What clients of the secured port may chain to beside our CA: the roots of signers that the mesh configuration names, if
/// workloads get certificates of them, and those of a file.
pub fn of_clients(file: Option<PathBuf>, signers: bool, mut readable: watch::Receiver<Arc<Published>>) -> ClientRoots {
    let (out, roots) = watch::channel(Arc::default());
    tokio::spawn(async move {
        let mut told = Vec::new();
        loop {
            let mesh = readable.borrow_and_update().mesh.clone();
            let (of_mesh, mut faults) = if signers { of_mesh(&mesh) } else { (None, Vec::new()) };
            let mut all = of_mesh.map(|bundle| bundle.roots).unwrap_or_default();
            if let Some(path) = &file {
                let text = tokio::fs::read_to_string(path).await.map_err(|error| error.to_string());
                match text.and_then(|text| Bundle::parse(&text).map_err(|error| error.to_string())) {
                    Ok(bundle) => all.extend(bundle.roots),
                    Err(error) => faults.push(format!("{}: {error}", path.display())),
                }
            }
            if faults != told {
                faults.iter().for_each(|fault| tracing::error!("{fault}"));
                told = faults;
            }
            out.send_if_modified(|known| {
                let changed = **known != all;
                if changed {
                    *known = Arc::new(all);
                }
                changed
            });
            tokio::select! {
                changed = readable.changed() => if changed.is_err() { return },
                () = sleep(FILES), if file.is_some() => {}
            }
        }
    });
    roots
}
