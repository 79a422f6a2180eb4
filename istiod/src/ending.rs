//! The end of the process in order: first nobody new is to come, then whoever is still there is sent elsewhere.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Version, header::CONNECTION},
    middleware::Next,
    response::Response,
};
use std::time::Duration;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Phase {
    Serving,
    /// Not ready any more, and answering everybody who has not learned that yet.
    Draining,
    /// Open connections are ended in order, new ones are refused.
    Closing,
}

/// Tells everybody how far the end has come. Clones tell of the same end.
#[derive(Clone)]
pub struct Ending(watch::Receiver<Phase>);

impl Ending {
    /// Listens for the wish that the process ends. By SIGTERM, as Kubernetes says it, the process goes on answering for
    /// `drain`: endpoints are taken away at the same moment, and everybody has to hear of that first. By SIGINT, or by a
    /// second signal, it ends at once.
    ///
    /// # Errors
    /// If signals cannot be followed.
    pub fn listen(drain: Duration) -> std::io::Result<Self> {
        let (phase, phases) = watch::channel(Phase::Serving);
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {
                    tracing::info!("asked to end: not ready any more; everything is answered for another {drain:?}");
                    phase.send_replace(Phase::Draining);
                    tokio::select! {
                        () = tokio::time::sleep(drain) => {}
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                }
            }
            tracing::info!("the process ends: connections are closed in order");
            phase.send_replace(Phase::Closing);
        });
        Ok(Self(phases))
    }

    /// Whether nobody new is to come.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() != Phase::Serving
    }

    /// Resolves when nobody new is to come.
    pub async fn draining(self) {
        self.reached(Phase::Draining).await;
    }

    /// Resolves when connections are to be ended.
    pub async fn closing(self) {
        self.reached(Phase::Closing).await;
    }

    async fn reached(mut self, wanted: Phase) {
        // The one who tells has ended, if at all, with the last phase.
        drop(self.0.wait_for(|phase| *phase >= wanted).await);
    }
}

/// Once the end has begun, every answer over HTTP/1.1 is the last one of its connection. A connection that is closed while
/// nothing is asked on it may just be asked something (API servers call webhooks by HTTP/1.1, and do not ask again); one that
/// is in use is given up here, in words. HTTP/2 has such words for every moment (GOAWAY).
pub async fn last_of_its_connection(State(ending): State<Ending>, request: Request, next: Next) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    if ending.has_begun() && version == Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
