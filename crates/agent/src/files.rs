//! Files that somebody else replaces: credentials on disk, the roots of the mesh.

use crate::trust::Roots;
use std::path::PathBuf;
use std::time::Duration;

/// How often files are looked at. Kubernetes replaces mounted files by swapping a link, which no watch on the file itself
/// sees; they are small, so that reading them is the simplest sure way.
const INTERVAL: Duration = Duration::from_secs(2);

/// The hash of the contents of `paths`, absent files included; equal for equal contents.
pub async fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for path in paths {
        match tokio::fs::read(path).await {
            Ok(content) => {
                hasher.update(&(content.len() as u64).to_le_bytes());
                hasher.update(&content);
            }
            Err(_) => hasher.update(b"absent"),
        }
    }
    hasher.digest()
}

/// Tells `roots` of every change of a mounted file, from now on and until the process ends.
pub async fn follow_mounted(path: PathBuf, roots: Roots) {
    let paths = [path];
    let mut last = fingerprint(&paths).await;
    loop {
        changed(&paths, last).await;
        last = fingerprint(&paths).await;
        let [path] = &paths;
        let told = match tokio::fs::read_to_string(path).await {
            Ok(pem) => roots.mounted(&pem).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = told {
            tracing::warn!("the mounted root certificate {}: {error}", path.display());
        }
    }
}

/// Resolves when the contents of `paths` are no longer what `last` is the fingerprint of.
pub async fn changed(paths: &[PathBuf], last: u64) {
    if paths.is_empty() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(INTERVAL).await;
        if fingerprint(paths).await != last {
            return;
        }
    }
}
