//! Leader election by a Lease: of several replicas one writes what only one may write.
//!
//! What belongs to no revision, one of all revisions writes: as in Istio the default one, which takes the Lease from others
//! (their Lease says for which revision it is held).
//!
//! As in client-go, nobody's clock is compared with anybody else's: a lease has run out when it has not been seen to
//! change for as long as it says, on the own clock since it was first seen so. The leader gives up before that, if it
//! could not renew in time, so that there are never two.

use crate::tags::REVISION;
use k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        coordination::v1::{Lease, LeaseSpec},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use std::{future::Future, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

/// The tag that says which revision is the default one.
const DEFAULT_TAG: &str = "istio-revision-tag-default";
/// The revision that is the default one if no tag says otherwise.
const DEFAULT: &str = "default";

/// The names of Istio's elections that are ours too; a Lease has the name.
pub mod elections {
    /// Who writes the status of Istio's objects; with a revision behind it, of the objects of that revision.
    pub const STATUS: &str = "istio-status-leader";
    /// Who writes the addresses of ServiceEntries.
    pub const ADDRESSES: &str = "istio-ip-autoallocate";
    /// Who writes the status of Ingresses.
    pub const INGRESS: &str = "istio-leader";
    /// Who hands the root certificate to all namespaces.
    pub const NAMESPACES: &str = "istio-namespace-controller-election";
    /// Who writes the status of Gateway API's objects.
    pub const GATEWAY_STATUS: &str = "istio-gateway-status-leader";
}

/// How long a leader may be silent, and how often it speaks.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// After this time without a sign another one may lead.
    pub lease: Duration,
    /// After this time without success the leader gives up; less than `lease`.
    pub deadline: Duration,
    /// Between two renewals.
    pub renew: Duration,
    /// Between two looks of the others.
    pub retry: Duration,
}

impl Default for Timing {
    /// Hand-over within 10 s of a crash; within 1 s when the leader ends in order.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease: seconds(8), deadline: seconds(5), renew: seconds(2), retry: seconds(1) }
    }
}

/// A candidate.
pub struct Election {
    client: Client,
    namespace: String,
    name: String,
    revision: String,
    /// Whether candidates of other revisions take part.
    is_shared: bool,
    identity: String,
    timing: Timing,
}

/// The lease as it was last seen to change.
struct Seen {
    lease: Lease,
    since: Instant,
}

/// Whose the lease is.
enum Holder {
    Us,
    /// Ours, and until now of somebody who has not run out and may not know yet.
    UsTaken,
    Other,
}

/// What a candidate remembers from one look to the next.
struct Term {
    seen: Option<Seen>,
    holds: bool,
    /// When the lease was last renewed for certain.
    renewed: Instant,
    /// The former leader may still act until then.
    quiet_until: Option<Instant>,
}

impl Election {
    /// A candidate among those of one revision; `identity` is unique among replicas (the name of the Pod).
    pub fn of_revision(client: Client, namespace: &str, name: &str, revision: &str, identity: &str) -> Self {
        let election = Self::of_all_revisions(client, namespace, name, revision, identity);
        Self { name: format!("{name}-{}", election.revision), is_shared: false, ..election }
    }

    /// A candidate among those of all revisions; the default one has precedence.
    pub fn of_all_revisions(client: Client, namespace: &str, name: &str, revision: &str, identity: &str) -> Self {
        let revision = if revision.is_empty() { DEFAULT } else { revision }.to_owned();
        let (namespace, name, identity) = (namespace.to_owned(), name.to_owned(), identity.to_owned());
        Self { client, namespace, name, revision, is_shared: true, identity, timing: Timing::default() }
    }

    /// The same with another timing.
    pub fn with_timing(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    /// Takes part until `ended`, then hands the lease over. `leads` always says whether we lead now.
    pub async fn run(self, leads: &watch::Sender<bool>, ended: impl Future<Output = ()>) {
        let mut term = Term { seen: None, holds: false, renewed: Instant::now(), quiet_until: None };
        tokio::select! {
            () = self.take_part(leads, &mut term) => {}
            () = ended => {}
        }
        leads.send_replace(false);
        if term.holds
            && let Some(seen) = term.seen
        {
            // If it fails, the others wait until the lease has run out.
            drop(timeout(self.timing.retry, self.write(seen.lease, false)).await);
        }
    }

    async fn take_part(&self, leads: &watch::Sender<bool>, term: &mut Term) {
        loop {
            let started = Instant::now();
            // A leader that does not know whether its renewal was stored must act as if it was not.
            let limit = if term.holds { term.renewed + self.timing.deadline } else { started + self.timing.deadline };
            let holder = match timeout_at(limit, self.hold(term.holds, &mut term.seen)).await {
                Ok(Ok(holder)) => holder,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, "the lease cannot be read or written: {error}");
                    if term.holds && started < limit { Holder::Us } else { Holder::Other }
                }
                Err(_) => Holder::Other,
            };
            term.holds = !matches!(holder, Holder::Other);
            if let Holder::UsTaken = holder {
                term.quiet_until = Some(started + self.timing.deadline);
            }
            if term.holds && term.seen.as_ref().is_some_and(|seen| seen.since >= started) {
                term.renewed = started;
            }
            let acts = term.holds && term.quiet_until.is_none_or(|until| until <= Instant::now());
            if leads.send_replace(acts) != acts {
                let word = if acts { "leads now" } else { "leads no more" };
                tracing::info!(lease = self.name, identity = self.identity, "{word}");
            }
            tokio::time::sleep(self.pause(term, started)).await;
        }
    }

    /// The pause before the next look, after one that began at `started`.
    fn pause(&self, term: &Term, started: Instant) -> Duration {
        match term.holds {
            false => self.timing.retry,
            // After a failure the leader tries again soon, as long as it may.
            true if term.renewed != started => self.timing.retry / 2,
            true => self.timing.renew,
        }
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Renews the lease, takes it if it has run out or we have precedence, or looks at it; says whose it is.
    async fn hold(&self, holding: bool, seen: &mut Option<Seen>) -> Result<Holder, kube::Error> {
        if let (true, Some(last)) = (holding, seen.as_ref())
            && let Some(lease) = self.write(last.lease.clone(), true).await?
        {
            *seen = Some(Seen { lease, since: Instant::now() });
            return Ok(Holder::Us);
        }
        let Some(lease) = self.leases().get_opt(&self.name).await? else { return self.create(seen).await };
        let changed = seen.as_ref().is_none_or(|seen| seen.lease.metadata.resource_version != lease.metadata.resource_version);
        if changed {
            *seen = Some(Seen { lease: lease.clone(), since: Instant::now() });
        }
        let since = seen.as_ref().map_or_else(Instant::now, |seen| seen.since);
        let holder = match self.may_take(&lease, since) {
            true => Holder::Us,
            false if self.has_precedence(&lease).await? => Holder::UsTaken,
            false => return Ok(Holder::Other),
        };
        let Some(lease) = self.write(lease, true).await? else { return Ok(Holder::Other) };
        *seen = Some(Seen { lease, since: Instant::now() });
        Ok(holder)
    }

    /// Whether the lease is held for another revision, while ours is the default one.
    async fn has_precedence(&self, lease: &Lease) -> Result<bool, kube::Error> {
        let held_for = lease.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION));
        if !self.is_shared || held_for.is_none_or(|revision| *revision == self.revision) {
            return Ok(false);
        }
        let tag = Api::<MutatingWebhookConfiguration>::all(self.client.clone()).get_metadata_opt(DEFAULT_TAG).await?;
        let default = tag.and_then(|tag| tag.metadata.labels?.remove(REVISION));
        Ok(default.as_deref().unwrap_or(DEFAULT) == self.revision)
    }

    async fn create(&self, seen: &mut Option<Seen>) -> Result<Holder, kube::Error> {
        let labels = Some([(REVISION.to_owned(), self.revision.clone())].into());
        let metadata = ObjectMeta { name: Some(self.name.clone()), labels, ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(self.spec(LeaseSpec::default(), true)) };
        match self.leases().create(&PostParams::default(), &lease).await {
            Ok(lease) => {
                *seen = Some(Seen { lease, since: Instant::now() });
                Ok(Holder::Us)
            }
            // Somebody was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Holder::Other),
            Err(error) => Err(error),
        }
    }

    /// Whether the lease is ours, nobody's, or has not been renewed for as long as it says since we saw it.
    fn may_take(&self, lease: &Lease, since: Instant) -> bool {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let length = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let length = length.map_or(self.timing.lease, Duration::from_secs);
        holder.is_empty() || holder == self.identity || since.elapsed() >= length
    }

    /// Writes the lease if it is still the version that we know; `None` if somebody else has written meanwhile.
    async fn write(&self, mut lease: Lease, held: bool) -> Result<Option<Lease>, kube::Error> {
        lease.spec = Some(self.spec(lease.spec.unwrap_or_default(), held));
        lease.metadata.labels.get_or_insert_default().insert(REVISION.to_owned(), self.revision.clone());
        match self.leases().replace(&self.name, &PostParams::default(), &lease).await {
            Ok(lease) => Ok(Some(lease)),
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, old: LeaseSpec, held: bool) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let is_new = held && old.holder_identity.as_deref() != Some(&self.identity);
        // An ended lease is nobody's at once.
        let seconds = if held { i32::try_from(self.timing.lease.as_secs().max(1)).unwrap_or(i32::MAX) } else { 1 };
        LeaseSpec {
            holder_identity: Some(if held { self.identity.clone() } else { String::new() }),
            lease_duration_seconds: Some(seconds),
            acquire_time: if is_new { Some(now.clone()) } else { old.acquire_time },
            lease_transitions: Some(old.lease_transitions.unwrap_or_default().saturating_add(i32::from(is_new))),
            renew_time: Some(now),
            ..old
        }
    }
}
