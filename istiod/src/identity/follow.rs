//! What the CA follows while it runs.

use crate::pipeline::Published;
use ca::{Authority, BundleWriter, Metrics, PluggedIn, Signer, TrustDomains, authenticate::Authenticator};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, time::sleep};

/// How often files are read again. They may be links of a mounted Secret, which no watch follows reliably.
const FILES: Duration = Duration::from_secs(1);

/// Between two looks at the clock.
const EXPIRY: Duration = Duration::from_secs(60);

/// A signing certificate that is nearly over is warned of this often.
const WARNING: u64 = 60;

/// The trust domains of the mesh configuration, from when it has been read.
pub async fn trust_domains(authority: Arc<Authority>, mut readable: watch::Receiver<Arc<Published>>) {
    loop {
        {
            let published = readable.borrow_and_update();
            let mesh = &published.store.mesh;
            let domains = TrustDomains { own: mesh.trust_domain.clone(), aliases: mesh.trust_domain_aliases.clone() };
            if published.synced && authority.trust_domains().as_deref() != Some(&domains) {
                authority.set_trust_domains(domains);
            }
        }
        if readable.changed().await.is_err() {
            return;
        }
    }
}

/// The keys of tokens.
pub async fn token_keys(authenticator: Arc<Authenticator>) {
    let mut told = Vec::new();
    loop {
        let failed = authenticator.tokens().refresh().await;
        if failed != told {
            for (cluster, error) in &failed {
                tracing::error!("the keys of the tokens of cluster {} are not read: {error}; those of before stay", cluster.as_str());
            }
            told = failed;
        }
        sleep(FILES).await;
    }
}

/// The files of a plugged-in CA.
pub async fn plugged_in(authority: Arc<Authority>, files: PluggedIn) {
    let mut last = files.load().ok().flatten();
    let mut told = String::new();
    loop {
        sleep(FILES).await;
        let material = match files.load() {
            Ok(Some(material)) => material,
            Ok(None) => continue,
            Err(error) => {
                // Half of the files may be there already; what is said once need not be said every second.
                if told != error.to_string() {
                    told = error.to_string();
                    tracing::error!("the plugged-in CA is not read again: {told}");
                }
                continue;
            }
        };
        if last.as_ref() == Some(&material) {
            continue;
        }
        match Signer::new(&material, SystemTime::now()) {
            Ok(signer) => {
                tracing::info!(certificate = signer.fingerprint, "the plugged-in CA has changed");
                authority.replace(signer);
            }
            Err(error) => tracing::error!("the new plugged-in CA cannot be used, the old one stays: {error}"),
        }
        last = Some(material);
    }
}

/// Copies of the roots for workloads, brought up to date at every change.
pub async fn bundles(authority: Arc<Authority>, writer: Option<Arc<dyn BundleWriter>>) {
    let Some(writer) = writer else { return };
    let mut signers = authority.follow();
    loop {
        let signer = signers.borrow_and_update().clone();
        if let Err(error) = writer.write(&signer.bundle.pem, signer.crl.as_deref()).await {
            tracing::error!("the roots cannot be published: {error}");
            sleep(FILES).await;
            continue;
        }
        if signers.changed().await.is_err() {
            return;
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
