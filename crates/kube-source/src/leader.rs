//! Leader election by a Lease: of several replicas one writes what only one may write.
//!
//! As in client-go, nobody's clock is compared with anybody else's: a lease has run out when it has not been seen to
//! change for as long as it says, on the own clock since it was first seen so. The leader gives up before that, if it
//! could not renew in time, so that there are never two.

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use std::{future::Future, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

/// The names of Istio's elections that are ours too; a Lease has the name, with the revision behind it for others than
/// the default one.
pub mod elections {
    /// Who writes the status of Istio's objects.
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
    identity: String,
    timing: Timing,
}

/// The lease as it was last seen to change.
struct Seen {
    lease: Lease,
    since: Instant,
}

impl Election {
    /// A candidate in the election `name` of the revision; `identity` is unique among replicas (the name of the Pod).
    pub fn new(client: Client, namespace: &str, name: &str, revision: &str, identity: &str) -> Self {
        let name = match revision {
            "" | "default" => name.to_owned(),
            revision => format!("{name}-{revision}"),
        };
        Self { client, namespace: namespace.to_owned(), name, identity: identity.to_owned(), timing: Timing::default() }
    }

    /// The same with another timing.
    pub fn with_timing(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    /// Takes part until `ended`, then hands the lease over. `leads` always says whether we lead now.
    pub async fn run(self, leads: watch::Sender<bool>, ended: impl Future<Output = ()>) {
        let mut seen = None;
        tokio::select! {
            () = self.take_part(&leads, &mut seen) => {}
            () = ended => {}
        }
        let led = leads.send_replace(false);
        if led && let Some(seen) = seen {
            // If it fails, the others wait until the lease has run out.
            drop(timeout(self.timing.retry, self.write(seen.lease, false)).await);
        }
    }

    async fn take_part(&self, leads: &watch::Sender<bool>, seen: &mut Option<Seen>) {
        let mut renewed = Instant::now();
        loop {
            let started = Instant::now();
            // A leader that does not know whether its renewal was stored must act as if it was not.
            let leading = *leads.borrow();
            let limit = if leading { renewed + self.timing.deadline } else { started + self.timing.deadline };
            let held = match timeout_at(limit, self.hold(leading, seen)).await {
                Ok(Ok(held)) => held,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, "the lease cannot be read or written: {error}");
                    leading && started < limit
                }
                Err(_) => false,
            };
            if held && seen.as_ref().is_some_and(|seen| seen.since >= started) {
                renewed = started;
            }
            if leads.send_replace(held) != held {
                let word = if held { "leads now" } else { "leads no more" };
                tracing::info!(lease = self.name, identity = self.identity, "{word}");
            }
            let pause = if held { self.timing.renew } else { self.timing.retry };
            // After a failure the leader tries again soon, as long as it may.
            let pause = if held && renewed != started { self.timing.retry / 2 } else { pause };
            tokio::time::sleep(pause).await;
        }
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Renews the lease, takes it if it has run out, or looks at it; returns whether it is ours.
    async fn hold(&self, leading: bool, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        if let (true, Some(last)) = (leading, seen.as_ref())
            && let Some(lease) = self.write(last.lease.clone(), true).await?
        {
            *seen = Some(Seen { lease, since: Instant::now() });
            return Ok(true);
        }
        let Some(lease) = self.leases().get_opt(&self.name).await? else { return self.create(seen).await };
        let changed = seen.as_ref().is_none_or(|seen| seen.lease.metadata.resource_version != lease.metadata.resource_version);
        if changed {
            *seen = Some(Seen { lease: lease.clone(), since: Instant::now() });
        }
        let since = seen.as_ref().map_or_else(Instant::now, |seen| seen.since);
        if !self.may_take(&lease, since) {
            return Ok(false);
        }
        let Some(lease) = self.write(lease, true).await? else { return Ok(false) };
        *seen = Some(Seen { lease, since: Instant::now() });
        Ok(true)
    }

    async fn create(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(self.spec(LeaseSpec::default(), true)) };
        match self.leases().create(&PostParams::default(), &lease).await {
            Ok(lease) => {
                *seen = Some(Seen { lease, since: Instant::now() });
                Ok(true)
            }
            // Somebody was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
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
