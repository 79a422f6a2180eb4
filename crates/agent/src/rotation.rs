//! Keeps the workload's certificate: asks for the first one until it comes, renews each in time, and goes on serving the one
//! it has while istiod is away.

use crate::certificate::{Certificate, CertificateError, KeyAlgorithm, Request};
use crate::connection::Upstream;
use crate::metrics::AgentMetrics;
use crate::request::{CertificateRequest, RequestError};
use base::SpiffeIdentity;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// The first pause after a failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is asked for, and when again.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Whose certificate.
    pub identity: SpiffeIdentity,
    /// Of what key.
    pub algorithm: KeyAlgorithm,
    /// The lifetime asked for (Istio's `SECRET_TTL`, 24 hours).
    pub lifetime: Duration,
    /// The part of a lifetime that must be left when the next certificate is asked for (`SECRET_GRACE_PERIOD_RATIO`, 0.5).
    pub grace: f64,
    /// By how much of a lifetime that moment is shifted, either way and at random, so that workloads that started together do
    /// not ask together (`SECRET_GRACE_PERIOD_RATIO_JITTER`, 0.01).
    pub jitter: f64,
}

#[derive(Debug, thiserror::Error)]
enum RotationError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Publishes a certificate, and each that follows it, until nobody listens any more. `random` gives numbers between 0 and 1.
/// A change of `roots`, the certificates that istiod is trusted by, asks for a new one at once: a new root is being distributed.
pub async fn rotate(
    renewal: Renewal,
    upstream: Upstream,
    metrics: AgentMetrics,
    mut random: impl FnMut() -> f64,
    mut renew_now: watch::Receiver<u64>,
    out: watch::Sender<Option<Arc<Certificate>>>,
) {
    loop {
        let certificate = tokio::select! {
            certificate = obtain(&renewal, &upstream, &metrics, &mut random) => certificate,
            () = out.closed() => return,
        };
        metrics.expires_at(certificate.not_after);
        let grace = renewal.grace + (random() * 2.0 - 1.0) * renewal.jitter;
        // A certificate that is due on arrival (clocks apart, a tiny lifetime) must not become a busy loop.
        let pause = certificate.renew_in(SystemTime::now(), grace).max(Duration::from_secs(1));
        tracing::info!(identity = %renewal.identity, "certificate received; the next is asked for in {pause:.0?}");
        out.send_replace(Some(Arc::new(certificate)));
        renew_now.mark_unchanged();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Ok(()) = renew_now.changed() => tracing::info!("the roots of the mesh have changed: a new certificate is asked for"),
            () = out.closed() => return,
        }
    }
}

/// Tries until it succeeds.
async fn obtain(renewal: &Renewal, upstream: &Upstream, metrics: &AgentMetrics, random: &mut impl FnMut() -> f64) -> Certificate {
    let mut pause = FIRST_PAUSE;
    loop {
        metrics.requested();
        match once(renewal, upstream).await {
            Ok(certificate) => return certificate,
            Err(error) => {
                metrics.failed();
                tracing::warn!(identity = %renewal.identity, "no certificate yet, next attempt in {pause:?}: {error}");
            }
        }
        tokio::time::sleep(pause.mul_f64(0.75 + random() * 0.5)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn once(renewal: &Renewal, upstream: &Upstream) -> Result<Certificate, RotationError> {
    let request = Request::new(&renewal.identity, renewal.algorithm)?;
    let question = CertificateRequest { csr_pem: request.csr_pem.clone(), lifetime: renewal.lifetime };
    Ok(request.granted(&question.send(upstream).await?)?)
}
