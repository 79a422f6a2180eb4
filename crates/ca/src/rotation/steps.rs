//! The driver of a rotation: looks at the store, the wanted generation and the proxies, and takes at most one step.

use super::{
    generation::Generation,
    holders::Holder,
    state::{Phase, Report, State},
};
use crate::{
    authority::{Authority, AuthorityError},
    root::{RootData, RootStore, Saved, StoreError},
    settings::TrustDomains,
    signer::{Bundle, seconds},
};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// One connected proxy that has certificates of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectedProxy {
    /// The id of its node.
    pub node: String,
    /// It is told the roots over xDS, and has accepted the newest.
    pub told: bool,
    /// It is told the roots over xDS, and has not accepted the newest yet.
    pub telling: bool,
    /// It has accepted all configuration that it was sent, so it accepts the trust domains in there.
    pub settled: bool,
    /// What it was given with its last certificate, if that was here.
    pub holder: Option<Holder>,
}

/// A proxy that is not ready for the next step, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HoldUp {
    /// The id of its node, or the name of a replica.
    pub proxy: String,
    /// For people.
    pub reason: &'static str,
}

/// What an operator may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// A new self-signed root.
    NewRoot,
    /// The next step now, whoever is cut off by it.
    Force,
    /// Back to the old generation; only before anything was signed by the new one.
    Abort,
}

/// How a rotation goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotationSettings {
    /// The name of this replica.
    pub replica: String,
    /// A phase lasts at least this long, so that the other replicas notice it, and so long nobody must have been waited for
    /// when it ends: what a proxy was given last is on its way to all threads of its Envoy.
    pub least_phase: Duration,
    /// A replica that has not reported for so long is gone.
    pub replica_gone: Duration,
    /// Reports are repeated after this time.
    pub report_every: Duration,
}

/// Why there was no step. The next attempt may succeed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// A generation cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing that the order could be about.
    #[error("{0}")]
    Order(&'static str),
}

/// Where a rotation stands, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// How far it is.
    pub phase: Phase,
    /// Since when: seconds since 1970.
    pub since: i64,
    /// The fingerprint of the certificate that signs.
    pub signer: String,
    /// When it expires: seconds since 1970.
    pub signer_expires: i64,
    /// The trust domain of new certificates.
    pub trust_domain: String,
    /// All that are accepted.
    pub accepted_trust_domains: Vec<String>,
    /// The hash of the roots that are distributed, and how many they are.
    pub bundle: String,
    /// The number of those roots.
    pub roots: usize,
    /// Who is waited for.
    pub waiting_for: Vec<HoldUp>,
}

/// What the authority was told last.
#[derive(PartialEq)]
struct Applied {
    phase: Phase,
    old: Generation,
    new: Option<Generation>,
    aliases: Vec<String>,
    crl: Option<String>,
}

/// The rotation of one replica.
pub struct Rotation {
    authority: Arc<Authority>,
    store: Option<Arc<dyn RootStore>>,
    settings: RotationSettings,
    state: State,
    version: Option<String>,
    /// What is accepted beside the generations: the aliases of the mesh configuration.
    aliases: Vec<String>,
    applied: Option<Applied>,
    crl: Option<String>,
    hold_ups: Vec<HoldUp>,
    /// Since when nobody is waited for, and in which phase: seconds since 1970.
    ready: Option<(Phase, i64)>,
}

impl Rotation {
    /// Goes on from what is stored, or settles on `generation` if nothing is. A stored root that no rotation of ours has
    /// left is only used if it is that generation: beside a plugged-in CA it may be one that nobody trusts any more.
    ///
    /// # Errors
    /// When the store cannot be read or written, or what it holds not be used.
    pub async fn start(
        authority: Arc<Authority>,
        store: Option<Arc<dyn RootStore>>,
        settings: RotationSettings,
        generation: Generation,
        now: SystemTime,
    ) -> Result<Self, RotationError> {
        let stored = Generation { material: generation.material.stored(), trust_domain: generation.trust_domain.clone() };
        let state = State::settled(stored, seconds(now));
        let mut rotation = Self {
            authority,
            store,
            settings,
            state,
            version: None,
            aliases: Vec::new(),
            applied: None,
            crl: generation.material.crl.clone(),
            hold_ups: Vec::new(),
            ready: None,
        };
        let found = match &rotation.store {
            Some(store) => store.load().await?,
            None => None,
        };
        rotation.version = found.as_ref().map(|stored| stored.version.clone());
        match found.filter(|stored| State::is_noted(&stored.data)) {
            Some(stored) => rotation.state = read(&stored.data, &generation.trust_domain)?,
            None => drop(rotation.save().await?),
        }
        rotation.apply(now)?;
        Ok(rotation)
    }

    /// The generation that it leads to, or has settled on.
    pub fn target(&self) -> &Generation {
        self.state.target()
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.state.phase
    }

    /// One look at everything; takes at most one step. `wanted` is the generation that files and mesh configuration ask
    /// for; `None` leaves it as it is.
    ///
    /// # Errors
    /// See [`RotationError`]; the state is then as before.
    pub async fn tick(
        &mut self,
        wanted: Option<&Generation>,
        aliases: &[String],
        proxies: impl FnOnce() -> Vec<ConnectedProxy>,
        now: SystemTime,
    ) -> Result<(), RotationError> {
        let trust_domain = self.state.old.trust_domain.clone();
        self.load(&trust_domain).await?;
        self.aliases = aliases.to_vec();
        if let Some(wanted) = wanted {
            self.crl = wanted.material.crl.clone();
            self.aim(wanted, now).await?;
        }
        self.apply(now)?;
        if self.state.phase == Phase::Settled {
            self.hold_ups.clear();
            return Ok(());
        }
        self.hold_ups = self.waiting_for(&proxies(), now)?;
        let own_ready = self.hold_ups.is_empty();
        let others_ready = self.report(own_ready, now).await?;
        if !own_ready || !others_ready {
            self.ready = None;
            return Ok(());
        }
        let before = self.ready.filter(|(phase, _)| *phase == self.state.phase).map(|(_, since)| since);
        let ready_since = before.unwrap_or_else(|| seconds(now));
        self.ready = Some((self.state.phase, ready_since));
        if seconds(now) >= self.state.since.max(ready_since).saturating_add(whole(self.settings.least_phase)) {
            self.step(now).await?;
        }
        Ok(())
    }

    /// Does what an operator asks for.
    ///
    /// # Errors
    /// When there is nothing that the order could be about, and as [`Rotation::tick`].
    pub async fn order(&mut self, order: Order, now: SystemTime) -> Result<(), RotationError> {
        match (order, self.state.phase) {
            (Order::NewRoot, Phase::Settled) => {
                let settings = self.authority.settings();
                let trust_domain = self.state.old.trust_domain.clone();
                let material = crate::generate(&trust_domain, settings.root_key, settings.root_ttl, now)?;
                self.begin(Generation { material, trust_domain }, now).await
            }
            (Order::NewRoot, _) => Err(RotationError::Order("a rotation is under way; wait for its end")),
            (_, Phase::Settled) => Err(RotationError::Order("no rotation is under way")),
            (Order::Force, _) => {
                tracing::warn!(phase = ?self.state.phase, waiting = self.hold_ups.len(), "the rotation goes on as it was told to");
                self.step(now).await
            }
            (Order::Abort, Phase::Distributing) => {
                let mut next = self.state.clone();
                next.new = None;
                next.enter(Phase::Settled, seconds(now));
                self.store(next, now).await
            }
            (Order::Abort, Phase::Signing) => Err(RotationError::Order("the new generation signs already; finish, then rotate back")),
        }
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        let signer = self.authority.signer();
        let domains = self.domains();
        Status {
            phase: self.state.phase,
            since: self.state.since,
            signer: signer.fingerprint.clone(),
            signer_expires: signer.expires,
            trust_domain: domains.own.clone(),
            accepted_trust_domains: std::iter::once(domains.own).chain(domains.aliases).collect(),
            bundle: signer.bundle.hash.clone(),
            roots: signer.bundle.roots.len(),
            waiting_for: self.hold_ups.clone(),
        }
    }

    /// The trust domain of new certificates, and all others that are accepted now.
    pub fn domains(&self) -> TrustDomains {
        let own = self.state.signing().trust_domain.clone();
        let mut aliases = self.aliases.clone();
        aliases.extend([&self.state.old, self.state.target()].map(|generation| generation.trust_domain.clone()));
        aliases.retain(|alias| *alias != own);
        let mut seen = std::collections::BTreeSet::new();
        aliases.retain(|alias| seen.insert(alias.clone()));
        TrustDomains { own, aliases }
    }

    /// Takes note of what is wanted.
    async fn aim(&mut self, wanted: &Generation, now: SystemTime) -> Result<(), RotationError> {
        let wanted = Generation { material: wanted.material.stored(), trust_domain: wanted.trust_domain.clone() };
        if wanted.is_same(self.state.target()) {
            return Ok(());
        }
        match self.state.phase {
            Phase::Settled => self.begin(wanted, now).await,
            // Nothing was signed by the one that was on its way.
            Phase::Distributing if wanted.is_same(&self.state.old) => self.order(Order::Abort, now).await,
            Phase::Distributing => self.begin(wanted, now).await,
            // One after the other.
            Phase::Signing => Ok(()),
        }
    }

    async fn begin(&mut self, new: Generation, now: SystemTime) -> Result<(), RotationError> {
        let bundle = new.bundle()?;
        // Found out now, not when it is to sign.
        new.signer(&bundle, now)?;
        let mut next = self.state.clone();
        next.new = Some(new);
        next.enter(Phase::Distributing, seconds(now));
        tracing::info!(trust_domain = next.target().trust_domain, "a rotation begins");
        self.store(next, now).await
    }

    async fn step(&mut self, now: SystemTime) -> Result<(), RotationError> {
        let mut next = self.state.clone();
        match next.phase {
            Phase::Settled => return Ok(()),
            Phase::Distributing => {
                let longest = whole(self.authority.settings().max_workload_ttl);
                // No leaf outlives what has signed it.
                next.old_expires = seconds(now).saturating_add(longest).min(self.authority.signer().expires);
                next.enter(Phase::Signing, seconds(now));
                tracing::info!("the new generation signs");
            }
            Phase::Signing => {
                if let Some(new) = next.new.take() {
                    next.old = new;
                }
                next.enter(Phase::Settled, seconds(now));
                next.reports.clear();
                tracing::info!("the rotation is over");
            }
        }
        self.store(next, now).await
    }

    /// What is still missing for the next step.
    fn waiting_for(&self, proxies: &[ConnectedProxy], now: SystemTime) -> Result<Vec<HoldUp>, RotationError> {
        let (old, new) = (&self.state.old, self.state.target());
        let (old_bundle, new_bundle) = (old.bundle()?, new.bundle()?);
        let same_domain = old.trust_domain == new.trust_domain;
        let reason = |proxy: &ConnectedProxy| match self.state.phase {
            Phase::Settled => None,
            // The old one can sign nothing any more: to wait would cut off everybody.
            Phase::Distributing if self.authority.signer().expires <= seconds(now) => None,
            Phase::Distributing => {
                if !same_domain && !proxy.settled {
                    return Some("it has not accepted the configuration with both trust domains");
                }
                if old_bundle.covers(&new_bundle) {
                    return None;
                }
                self.lacks_roots(proxy)
            }
            Phase::Signing if new_bundle.covers(&old_bundle) && same_domain => None,
            Phase::Signing if self.state.old_expires <= seconds(now) => None,
            Phase::Signing => self.lacks_certificate(proxy, &new.trust_domain),
        };
        let waiting = proxies.iter().filter_map(|proxy| Some(HoldUp { proxy: proxy.node.clone(), reason: reason(proxy)? }));
        let mut waiting: Vec<HoldUp> = waiting.collect();
        waiting.sort_by(|a, b| a.proxy.cmp(&b.proxy));
        Ok(waiting)
    }

    fn lacks_roots(&self, proxy: &ConnectedProxy) -> Option<&'static str> {
        if proxy.told {
            return None;
        }
        if proxy.telling {
            return Some("it has not accepted the new roots");
        }
        let current = &self.authority.signer().bundle.hash;
        match &proxy.holder {
            Some(holder) if holder.bundle == *current => None,
            Some(_) => Some("it takes roots with its certificate only, and has not renewed it yet"),
            None => Some("it takes roots with its certificate only, and has not asked this replica for one"),
        }
    }

    fn lacks_certificate(&self, proxy: &ConnectedProxy, trust_domain: &str) -> Option<&'static str> {
        let signer = self.authority.signer();
        match &proxy.holder {
            Some(holder) if holder.signer == signer.fingerprint && holder.identity.trust_domain == trust_domain => None,
            Some(_) => Some("its certificate is of the old generation"),
            None => Some("its certificate may be of the old generation: it has not asked this replica for one"),
        }
    }

    /// Says how this replica stands; whether all others are ready.
    async fn report(&mut self, ready: bool, now: SystemTime) -> Result<bool, RotationError> {
        let at = seconds(now);
        let own = self.state.reports.get(&self.settings.replica);
        let due = own.is_none_or(|own| own.ready != ready || at >= own.at.saturating_add(whole(self.settings.report_every)));
        if due && self.store.is_some() {
            let mut next = self.state.clone();
            next.reports.insert(self.settings.replica.clone(), Report { ready, at });
            let oldest = at.saturating_sub(whole(self.settings.replica_gone));
            next.reports.retain(|_, report| report.at >= oldest);
            self.store(next, now).await?;
        }
        let mut others = self.state.reports.iter().filter(|(replica, _)| **replica != self.settings.replica);
        let waiting = others.find(|(_, report)| !report.ready).map(|(replica, _)| replica.clone());
        if let Some(replica) = &waiting {
            self.hold_ups.push(HoldUp { proxy: replica.clone(), reason: "proxies of that replica are not ready" });
        }
        Ok(waiting.is_none())
    }

    /// Stores a state, then acts on it. If another replica was faster, its state is taken with the next tick.
    async fn store(&mut self, next: State, now: SystemTime) -> Result<(), RotationError> {
        let before = std::mem::replace(&mut self.state, next);
        match self.save().await {
            Ok(true) => self.apply(now),
            Ok(false) => {
                self.state = before;
                Ok(())
            }
            Err(error) => {
                self.state = before;
                Err(error)
            }
        }
    }

    async fn save(&mut self) -> Result<bool, RotationError> {
        let Some(store) = &self.store else { return Ok(true) };
        match store.save(&self.state.write(), self.version.as_deref()).await? {
            Saved::Done(stored) => {
                self.version = Some(stored.version);
                Ok(true)
            }
            Saved::Conflict => Ok(false),
        }
    }

    async fn load(&mut self, trust_domain: &str) -> Result<(), RotationError> {
        let Some(store) = &self.store else { return Ok(()) };
        let Some(stored) = store.load().await? else { return Ok(()) };
        if self.version.as_ref() == Some(&stored.version) {
            return Ok(());
        }
        self.state = read(&stored.data, trust_domain)?;
        self.version = Some(stored.version);
        Ok(())
    }

    /// Makes the authority sign and accept what the state says.
    fn apply(&mut self, now: SystemTime) -> Result<(), RotationError> {
        let applied = Applied {
            phase: self.state.phase,
            old: self.state.old.clone(),
            new: self.state.new.clone(),
            aliases: self.aliases.clone(),
            crl: self.crl.clone(),
        };
        if self.applied.as_ref() == Some(&applied) {
            return Ok(());
        }
        let bundle = self.accepted()?;
        let mut signing = self.state.signing().clone();
        signing.material.crl = self.crl.clone();
        let signer = signing.signer(&bundle, now)?;
        let current = self.authority.signer();
        if current.fingerprint != signer.fingerprint || current.bundle.hash != bundle.hash || current.crl != signer.crl {
            self.authority.replace(signer);
        }
        let domains = self.domains();
        if self.authority.trust_domains().as_deref() != Some(&domains) {
            self.authority.set_trust_domains(domains);
        }
        self.applied = Some(applied);
        Ok(())
    }

    /// The roots of both generations; the same text in both phases, or everybody would have to take it again.
    fn accepted(&self) -> Result<Bundle, AuthorityError> {
        let old = self.state.old.bundle()?;
        match &self.state.new {
            Some(new) => old.with(&new.bundle()?),
            None => Ok(old),
        }
    }
}

fn read(data: &RootData, trust_domain: &str) -> Result<State, StoreError> {
    let damaged = || StoreError("rotation.json is damaged; remove that key to keep the root without a rotation".to_owned());
    State::read(data, trust_domain).ok_or_else(damaged)
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
