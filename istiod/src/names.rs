//! The addresses of gateways between networks that are given by a name, as those of load balancers in some clouds are: proxies
//! that get endpoints from istiod cannot look them up, so istiod does.
//!
//! An edge like the sources: what a turn has found to be named comes in with the published cut, what was looked up goes back
//! as events. An answer is kept until there is another one: a name server that is gone takes nothing away.

use crate::pipeline::Published;
use base::ClusterId;
use config::{Change, Event};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// How long an answer counts: the least that Istio lets one count, whatever its TTL (`MinGatewayTTL`).
const INTERVAL: Duration = Duration::from_secs(30);
/// How long a name server may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the system's resolver, which knows search domains and `/etc/hosts`, too.
///
/// # Errors
/// If there is no answer.
pub async fn look_up(name: Arc<str>) -> io::Result<Vec<IpAddr>> {
    let found = timeout(TIMEOUT, tokio::net::lookup_host((&*name, 0))).await;
    Ok(found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.map(|socket| socket.ip()).collect())
}

/// Looks the names up that the published cuts want, now and again, until nobody publishes or takes events any more.
pub async fn follow<F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static>(
    mut published: watch::Receiver<Arc<Published>>,
    events: mpsc::WeakSender<Vec<Event>>,
    look_up: impl Fn(Arc<str>) -> F,
) {
    let mut known: BTreeMap<Arc<str>, Name> = BTreeMap::new();
    let mut questions = JoinSet::new();
    loop {
        let wanted = published.borrow_and_update().snapshot.network_gateways.names().clone();
        let mut changes = forget(&mut known, &wanted);
        for name in wanted {
            let entry = known.entry(name.clone()).or_default();
            if entry.due.is_some_and(|due| due > Instant::now()) {
                continue;
            }
            // The answer may take longer than the interval; only then it is asked once more meanwhile.
            entry.due = Some(Instant::now() + INTERVAL);
            let question = look_up(name.clone());
            questions.spawn(async move { (name, question.await) });
        }
        let next = known.values().filter_map(|name| name.due).min();
        if changes.is_empty() {
            tokio::select! {
                changed = published.changed() => if changed.is_err() { return },
                Some(Ok((name, answer))) = questions.join_next() => changes.extend(take(&mut known, name, answer)),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
        if !changes.is_empty() {
            let Some(events) = events.upgrade() else { return };
            let batch = changes.into_iter().map(|change| Event { cluster: ClusterId::default(), change }).collect();
            if events.send(batch).await.is_err() {
                return;
            }
        }
    }
}

/// A name that somebody wants.
#[derive(Default)]
struct Name {
    /// The last answer.
    addresses: Arc<[IpAddr]>,
    /// When it is asked for again.
    due: Option<Instant>,
}

/// Nobody wants the others any more.
fn forget(known: &mut BTreeMap<Arc<str>, Name>, wanted: &BTreeSet<Arc<str>>) -> Vec<Change> {
    let gone: Vec<Arc<str>> = known.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
    let forgotten = gone.into_iter().filter_map(|name| {
        let entry = known.remove(&name)?;
        (!entry.addresses.is_empty()).then(|| Change::Addresses { name, addresses: Arc::default() })
    });
    forgotten.collect()
}

/// What changes with an answer, which may come too late for anybody.
fn take(known: &mut BTreeMap<Arc<str>, Name>, name: Arc<str>, answer: io::Result<Vec<IpAddr>>) -> Option<Change> {
    let entry = known.get_mut(&name)?;
    let found: BTreeSet<IpAddr> = match answer {
        Ok(found) => found.into_iter().collect(),
        Err(error) => {
            tracing::warn!(%name, kept = ?entry.addresses, "the name of a gateway between networks cannot be looked up: {error}");
            return None;
        }
    };
    let found: Arc<[IpAddr]> = found.into_iter().collect();
    if found.is_empty() || found == entry.addresses {
        return None;
    }
    entry.addresses = found.clone();
    Some(Change::Addresses { name, addresses: found })
}

#[cfg(test)]
mod tests;
