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
/// A certificate whose roots are not those of the mesh any more is replaced within this part of its lifetime, and within
/// [`LONGEST_PAUSE`]: not at once, because all workloads hear of new roots at the same moment.
const SPREAD: f64 = 0.02;

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
    #[error("the roots in the answer: the text {0}")]
    Roots(#[from] ca::pem::PemError),
}

/// Publishes a certificate, and each that follows it, until nobody listens any more. `random` gives numbers between 0 and 1.
/// When others speak of other roots than those that came with it (a new one is being distributed, an old one is dropped), the
/// next is asked for soon.
pub async fn rotate(
    renewal: Renewal,
    upstream: Upstream,
    metrics: AgentMetrics,
    mut random: impl FnMut() -> f64,
    out: watch::Sender<Option<Arc<Certificate>>>,
) {
    let mut roots = upstream.trusted.changes();
    loop {
        // What is said from here on may not be in the answer.
        roots.settle();
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
        let doubted = async {
            roots.doubted().await;
            let spread = renewal.lifetime.mul_f64(SPREAD).min(LONGEST_PAUSE).mul_f64(random());
            tracing::info!("the roots of the mesh have changed: a new certificate is asked for in {spread:.1?}");
            tokio::time::sleep(spread).await;
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = doubted => {}
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
    let certificate = request.granted(&question.send(upstream).await?)?;
    // Before the certificate: whoever is shown it must be able to know its root.
    upstream.trusted.granted(&certificate.roots_pem)?;
    Ok(certificate)
}
