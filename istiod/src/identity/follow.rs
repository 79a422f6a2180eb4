//! What the CA follows while it runs.

use crate::pipeline::Published;
use ca::{Authority, BundleWriter, Metrics, authenticate::Authenticator};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, time::sleep};

/// How often the keys of tokens are read again, and what has failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How often the keys of a cluster's tokens are fetched without a cause.
const KEYS: Duration = Duration::from_secs(300);

/// How often copies are compared that nothing has changed for.
const COPIES: Duration = Duration::from_secs(120);

/// Between two looks at the clock.
const EXPIRY: Duration = Duration::from_secs(60);

/// A signing certificate that is nearly over is warned of this often.
const WARNING: u64 = 60;

/// The keys of tokens. Those of a file are read every second; those of a cluster now and then, because a token with a key
/// that is not known has them fetched at once.
pub async fn token_keys(authenticator: Arc<Authenticator>, file: bool) {
    let mut told = Vec::new();
    loop {
        let failed = authenticator.tokens().refresh().await;
        if failed != told {
            for (cluster, error) in &failed {
                tracing::error!("the keys of the tokens of cluster {} are not read: {error}; those of before stay", cluster.as_str());
            }
            told = failed;
        }
        let failed = !told.is_empty();
        sleep(if file || failed { AGAIN } else { KEYS }).await;
    }
}

/// Copies of the roots for workloads, brought up to date at every change, for every new namespace, and now and then for
/// those that somebody else has changed.
pub async fn bundles(authority: Arc<Authority>, writer: Option<Arc<dyn BundleWriter>>, mut readable: watch::Receiver<Arc<Published>>) {
    let Some(writer) = writer else { return };
    let mut signers = authority.follow();
    loop {
        let namespaces = readable.borrow_and_update().store.namespaces.clone();
        let signer = signers.borrow_and_update().clone();
        if let Err(error) = writer.write(&signer.bundle.pem, signer.crl.as_deref()).await {
            tracing::error!("the roots cannot be published: {error}");
            sleep(AGAIN).await;
            continue;
        }
        let another = readable.wait_for(|published| namespaces.changes(&published.store.namespaces).next().is_some());
        tokio::select! {
            changed = signers.changed() => if changed.is_err() { return },
            changed = another => if changed.is_err() { return },
            () = sleep(COPIES) => {}
        }
    }
}

/// When the root and what signs will expire: in metrics always, in the log when it is time.
pub async fn expiry(authority: Arc<Authority>, metrics: Metrics) {
    for minute in 0_u64.. {
        let (signer, now) = (authority.signer(), SystemTime::now());
        metrics.expiry(&signer, now);
        if minute % WARNING == 0 && signer.in_grace(authority.settings().grace_percent, now) {
            tracing::warn!(expires = signer.expires, "the signing certificate, or one above it, is nearly over; replace it");
        }
        sleep(EXPIRY).await;
    }
}
