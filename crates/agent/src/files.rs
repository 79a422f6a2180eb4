//! Files that somebody else replaces: credentials on disk, the roots of the mesh.

use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

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

/// Counts the changes of a file, from now on.
pub fn follow(path: &Path) -> watch::Receiver<u64> {
    let paths = vec![path.to_owned()];
    let (changes, receiver) = watch::channel(0);
    tokio::spawn(async move {
        let mut last = fingerprint(&paths).await;
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = changes.closed() => return,
            }
            let now = fingerprint(&paths).await;
            if now != last {
                last = now;
                changes.send_modify(|count| *count += 1);
            }
        }
    });
    receiver
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
