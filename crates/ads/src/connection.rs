//! The state machine of one stream: no I/O and no clock of its own. Requests, views and ticks go in, actions come out.

use crate::{
    discovery::SecretAccess,
    nack::Carried,
    options::{Limits, Waits},
    order::{Wait, Waited, referred_from, waits_for},
    parcel::{Extent, Parcel},
    permits::PermitState,
    replica::Plan,
    subscription::{NameBudget, TooManyNames},
    type_state::{InFlight, Sent, Types},
    virtual_hosts::{Delivery, VirtualHosts},
};
use base::ObjectRef;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use xds_wire::{Encoded, ResourceName, ResourceType, Resources, Version, View};

/// Which variant of the protocol a stream speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// `DeltaAggregatedResources`.
    Delta,
    /// `StreamAggregatedResources`.
    StateOfTheWorld,
}

/// One request of a client.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// On a delta stream.
    Delta(xds_api::envoy::service::discovery::v3::DeltaDiscoveryRequest),
    /// On a state-of-the-world stream.
    StateOfTheWorld(xds_api::envoy::service::discovery::v3::DiscoveryRequest),
}

/// One response, not yet encoded.
#[derive(Clone, PartialEq, Debug)]
pub struct Response {
    /// The variant that it is for.
    pub protocol: Protocol,
    /// The type; `None` for a type that is not served.
    pub kind: Option<ResourceType>,
    /// The type URL.
    pub type_url: String,
    /// Unique among all streams.
    pub nonce: String,
    /// The revision of the view that it was made from.
    pub revision: u64,
    /// In order of their names.
    pub resources: Vec<Arc<Encoded>>,
    /// What does not exist or no longer does; delta only.
    pub removed: Vec<ResourceName>,
}

/// What the driver of a stream has to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Send it.
    Send(Response),
    /// Wait for a push permit, then call [`Connection::on_permit`].
    AcquirePermit,
    /// Return the push permit.
    ReleasePermit,
    /// The client has refused a response.
    Rejected {
        /// The type of the response.
        kind: ResourceType,
        /// The resources at fault.
        resources: Vec<(ResourceName, Version)>,
        /// The objects behind them.
        origins: Vec<ObjectRef>,
        /// The gRPC code of the refusal.
        code: i32,
        /// The client's text.
        message: String,
    },
    /// The client has accepted a response to a type for which it had refused one.
    Recovered(ResourceType),
    /// The client has accepted this content, which another proxy has refused.
    Accepted(ResourceType, Version),
    /// Count it.
    Observe(Observation),
}

/// Something that is only measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observation {
    /// A request answered a response that was not the last one.
    ExpiredNonce(ResourceType),
    /// A response or a removal has waited too long for an acknowledgement of another type.
    OrderWaitRanOut(ResourceType),
    /// A permit was taken back before the acknowledgement came.
    PermitRanOut,
    /// Secrets were asked for by a peer that must not have them.
    SecretsRefused,
    /// A type was asked for that is not served.
    UnknownType,
    /// Everything that a view changed has been acknowledged, this long after the view came.
    Converged(Duration),
}

/// The stream cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// `RESOURCE_EXHAUSTED`: the peer subscribes to more names than it may make us remember.
    #[error("too many resource names are subscribed to on one stream")]
    TooManyNames,
    /// `INVALID_ARGUMENT`: a request of the other variant.
    #[error("a delta and a state-of-the-world request on one stream")]
    MixedProtocols,
}

impl From<TooManyNames> for ProtocolError {
    fn from(_: TooManyNames) -> Self {
        Self::TooManyNames
    }
}

/// What a state machine is started with.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// The variant.
    pub protocol: Protocol,
    /// The peer may have secrets.
    pub secrets: SecretAccess,
    /// The peer can get virtual hosts one by one.
    pub virtual_hosts: bool,
    /// Makes nonces unique among streams and restarts.
    pub nonce_prefix: String,
    /// What the peer may make us hold.
    pub limits: Limits,
    /// How long things may wait.
    pub waits: Waits,
}

/// The state of one stream.
pub struct Connection {
    pub(crate) settings: ConnectionSettings,
    pub(crate) view: Arc<View>,
    pub(crate) types: Types,
    pub(crate) budget: NameBudget,
    pub(crate) permit: PermitState,
    pub(crate) started: Instant,
    /// The client has come back with what it holds.
    pub(crate) reconnected: bool,
    pub(crate) hosts: VirtualHosts,
    changed_at: Option<Instant>,
    responses: u64,
    /// What was said of contents that are held back.
    vouched: BTreeSet<(ResourceType, Version)>,
}

/// More answers than this are not sent to a client that acknowledges none of them.
const MAX_IN_FLIGHT: usize = 32;

/// A response below this size needs no permit: it fits a socket's buffer beside others.
pub(crate) const SMALL_RESPONSE: usize = 16 << 10;

impl Connection {
    /// A stream whose peer has been put into a class. `now` is the time of the first request, handed in next.
    pub fn new(settings: ConnectionSettings, view: Arc<View>, now: Instant) -> Self {
        let budget = NameBudget::new(&settings.limits);
        Self {
            settings,
            view,
            types: Types::default(),
            budget,
            permit: PermitState::default(),
            started: now,
            reconnected: false,
            hosts: VirtualHosts::default(),
            changed_at: None,
            responses: 0,
            vouched: BTreeSet::new(),
        }
    }

    /// A request has come.
    pub fn on_request(&mut self, request: Request, now: Instant) -> Result<Vec<Action>, ProtocolError> {
        let mut actions = Vec::new();
        match (self.settings.protocol, request) {
            (Protocol::Delta, Request::Delta(request)) => self.on_delta(request, now, &mut actions)?,
            (Protocol::StateOfTheWorld, Request::StateOfTheWorld(request)) => self.on_sotw(request, now, &mut actions)?,
            _ => return Err(ProtocolError::MixedProtocols),
        }
        self.advance(now, &mut actions);
        Ok(actions)
    }

    /// The class has a newer view.
    pub fn on_view(&mut self, view: Arc<View>, now: Instant) -> Vec<Action> {
        self.view = view;
        self.changed_at.get_or_insert(now);
        self.acted(now)
    }

    /// Some [`Connection::deadline`] has passed.
    pub fn on_tick(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.permit.expire(now, &mut actions);
        self.advance(now, &mut actions);
        actions
    }

    /// The push permit that was asked for is there.
    pub fn on_permit(&mut self, now: Instant) -> Vec<Action> {
        self.permit.granted(now + self.settings.waits.permit);
        self.acted(now)
    }

    /// When [`Connection::on_tick`] must be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        // A type with a response in flight goes on when that is acknowledged.
        let idle = self.types.iter().filter(|(_, state)| state.in_flight.is_empty());
        let waits = idle.flat_map(|(_, state)| [state.push_wait.deadline(), state.removal_wait.deadline()]);
        waits.chain([self.permit.deadline()]).flatten().min()
    }

    /// Whether the client has accepted everything that the newest view has for it.
    pub fn is_settled(&self) -> bool {
        self.changed_at.is_none() && ResourceType::ALL.into_iter().all(|kind| self.is_settled_for(kind))
    }

    /// The same for one type.
    pub fn is_settled_for(&self, kind: ResourceType) -> bool {
        let state = self.types.of(kind);
        state.in_flight.is_empty() && !state.first_due && state.error.is_none() && !self.plan(kind, &self.view).due
    }

    fn acted(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.advance(now, &mut actions);
        actions
    }

    /// Sends whatever may leave.
    fn advance(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let view = self.view.clone();
        self.vouch(&view, actions);
        for kind in ResourceType::ALL {
            self.advance_type(kind, &view, now, actions);
        }
        let quiet = self.types.iter().all(|(_, state)| state.in_flight.is_empty());
        if quiet {
            self.permit.release(actions);
        }
        if let Some(since) = self.changed_at
            && quiet
            && ResourceType::ALL.into_iter().all(|kind| !self.plan(kind, &view).due)
        {
            self.changed_at = None;
            actions.push(Action::Observe(Observation::Converged(now.saturating_duration_since(since))));
        }
    }

    fn advance_type(&mut self, kind: ResourceType, view: &View, now: Instant, actions: &mut Vec<Action>) {
        let state = self.types.of(kind);
        if !state.requested || (kind == ResourceType::VirtualHost && !self.hosts_are_decided()) {
            return;
        }
        let plan = self.plan(kind, view);
        if !plan.due && !state.first_due {
            let newest = self.wanted(kind, view);
            self.types.of_mut(kind).settle(&newest, plan.items.is_empty());
            return;
        }
        let Some(extent) = self.extent(kind, &plan, view, now, actions) else { return };
        if self.needs_permit(kind, &plan) && !self.permit.ask(actions) {
            return;
        }
        self.send(kind, &plan, extent, now, actions);
    }

    /// What the client lacks of a type.
    pub(crate) fn plan(&self, kind: ResourceType, view: &View) -> Plan {
        let state = self.types.of(kind);
        if !state.requested {
            return Plan::default();
        }
        state.replica.plan(&state.interest, &self.wanted(kind, view))
    }

    /// How much of the plan may leave now.
    fn extent(&mut self, kind: ResourceType, plan: &Plan, view: &View, now: Instant, actions: &mut Vec<Action>) -> Option<Extent> {
        let state = self.types.of(kind);
        let (first, answers, in_flight) = (state.first_due, plan.has_answers(), state.in_flight.len());
        let removals = plan.has_removals() && (first || in_flight == 0) && self.may_remove(kind, view, now, actions);
        if first {
            return Some(Extent::Everything { removals });
        }
        if in_flight == 0 && self.may_push(kind, view, now, actions) {
            let only_removals = plan.items.iter().all(|item| item.is_removal());
            return (removals || !only_removals).then_some(Extent::Everything { removals });
        }
        let full_set = self.settings.protocol == Protocol::StateOfTheWorld && kind.is_wildcard();
        let answered = if full_set { Extent::Everything { removals: false } } else { Extent::Answers };
        (answers && in_flight < MAX_IN_FLIGHT).then_some(answered)
    }

    /// Whether the client has acknowledged everything that a push of this type may refer to.
    fn may_push(&mut self, kind: ResourceType, view: &View, now: Instant, actions: &mut Vec<Action>) -> bool {
        let missing = waits_for(kind).iter().any(|earlier| {
            let state = self.types.of(*earlier);
            state.in_flight.iter().any(|response| response.adds) || self.plan(*earlier, view).has_additions()
        });
        let bound = self.settings.waits.order;
        let wait = &mut self.types.of_mut(kind).push_wait;
        pass(missing, wait, bound, kind, now, actions)
    }

    /// Whether the client has acknowledged everything that may have referred to what is to be removed.
    fn may_remove(&mut self, kind: ResourceType, view: &View, now: Instant, actions: &mut Vec<Action>) -> bool {
        let returning = self.reconnected && now < self.started + self.settings.waits.reconnect;
        let inline = self.hosts.delivery == Delivery::Inline;
        let referring = || referred_from(kind).iter().filter(|other| !(inline && **other == ResourceType::VirtualHost));
        let referred = referring().any(|other| {
            let state = self.types.of(*other);
            if state.requested { !state.in_flight.is_empty() || self.plan(*other, view).due } else { returning }
        });
        let only_returning = returning && referring().all(|other| !self.types.of(*other).requested);
        let bound = if only_returning { self.settings.waits.reconnect } else { self.settings.waits.order };
        let wait = &mut self.types.of_mut(kind).removal_wait;
        pass(referred, wait, bound, kind, now, actions)
    }

    /// Large responses need a permit, except those that an outstanding acknowledgement may wait for.
    fn needs_permit(&self, kind: ResourceType, plan: &Plan) -> bool {
        let awaited = matches!(kind, ResourceType::Endpoint | ResourceType::Route | ResourceType::VirtualHost | ResourceType::Secret)
            && [ResourceType::Cluster, ResourceType::Listener].iter().any(|other| !self.types.of(*other).in_flight.is_empty());
        !awaited && plan.size() >= SMALL_RESPONSE
    }

    /// Sends what may leave of a plan, and remembers it.
    fn send(&mut self, kind: ResourceType, plan: &Plan, extent: Extent, now: Instant, actions: &mut Vec<Action>) {
        let view = self.view.clone();
        let newest = &self.wanted(kind, &view);
        let delta = self.settings.protocol == Protocol::Delta;
        let mut parcel = Parcel::new(plan, extent);
        let first = self.types.of_mut(kind).note(plan, extent, newest);
        match kind {
            ResourceType::Cluster => self.resend_endpoints(&parcel.carried),
            ResourceType::Route => self.introduce(plan, extent, &view),
            _ => {}
        }
        if !delta {
            parcel.carried = self.state_of_the_world(kind, newest, parcel.carried, &mut parcel.removed);
            if parcel.carried.is_empty() && !parcel.answers && !first && !kind.is_wildcard() {
                return;
            }
        }
        // Envoy refuses a response for one secret in it, and then has none of those that follow.
        let portion = if delta && kind == ResourceType::Secret { 1 } else { self.types.of(kind).portion.unwrap_or(usize::MAX) };
        for parcel in parcel.portions(portion) {
            self.respond(kind, parcel, now, actions);
        }
    }

    fn respond(&mut self, kind: ResourceType, parcel: Parcel, now: Instant, actions: &mut Vec<Action>) {
        let (revision, protocol) = (self.view.revision, self.settings.protocol);
        let nonce = self.next_nonce(revision);
        actions.push(Action::Send(Response {
            protocol,
            kind: Some(kind),
            type_url: kind.url().to_owned(),
            nonce: nonce.to_string(),
            revision,
            resources: parcel.carried.iter().map(|carried| carried.resource.clone()).collect(),
            removed: if protocol == Protocol::Delta { parcel.removed.clone() } else { Vec::new() },
        }));
        let sent = Sent { nonce, revision, resources: parcel.carried.len(), at: now };
        let state = self.types.of_mut(kind);
        state.sent = Some(sent.clone());
        state.in_flight.push_back(InFlight { sent, carried: parcel.carried, removed: parcel.removed, adds: parcel.adds });
    }

    /// Envoy warms a changed cluster until its endpoints come once more, and does not ask for them.
    fn resend_endpoints(&mut self, clusters: &[Carried]) {
        let state = self.types.of_mut(ResourceType::Endpoint);
        if !state.requested {
            return;
        }
        state.repeat_allowed = true;
        for cluster in clusters.iter().filter(|cluster| cluster.fresh) {
            if state.interest.has_name(&cluster.resource.name) {
                state.replica.resend(&cluster.resource.name);
            }
        }
    }

    pub(crate) fn next_nonce(&mut self, revision: u64) -> Arc<str> {
        self.responses = self.responses.saturating_add(1);
        Arc::from(format!("{}-{revision}-{}", self.settings.nonce_prefix, self.responses))
    }
}

impl Connection {
    /// What the peer is to have of a type: the newest, or, where that was refused by another proxy of its class and this one
    /// does not have it, the last content that was accepted.
    pub(crate) fn wanted(&self, kind: ResourceType, view: &View) -> Resources {
        if kind == ResourceType::Secret && self.settings.secrets != SecretAccess::All {
            let allowed = view.of(kind).iter().filter(|secret| self.settings.secrets.allows(&secret.name));
            return allowed.fold(Resources::default(), |resources, secret| resources.with(secret.clone()));
        }
        match (kind, self.hosts.delivery) {
            (ResourceType::VirtualHost, Delivery::Inline) => return Resources::default(),
            (ResourceType::Route, Delivery::OneByOne) => return view.bare_routes().unwrap_or(view.of(kind)).clone(),
            _ => {}
        }
        let replica = &self.types.of(kind).replica;
        let held = view.holds_of(kind).filter(|(name, hold)| !replica.has(name, hold.refused));
        held.fold(view.of(kind).clone(), |resources, (_, hold)| resources.with(hold.accepted.clone()))
    }

    /// Says that what is held back was accepted here.
    fn vouch(&mut self, view: &View, actions: &mut Vec<Action>) {
        for ((kind, name), hold) in view.holds() {
            let state = self.types.of(*kind);
            let answered = state.in_flight.iter().all(|response| response.carried.iter().all(|c| c.resource.name != *name));
            if answered && state.replica.has(name, hold.refused) && self.vouched.insert((*kind, hold.refused)) {
                actions.push(Action::Accepted(*kind, hold.refused));
            }
        }
    }
}

/// Goes on if nothing stands in the way, or if it has stood there for too long.
fn pass(blocked: bool, wait: &mut Wait, bound: Duration, kind: ResourceType, now: Instant, actions: &mut Vec<Action>) -> bool {
    if !blocked {
        wait.end();
        return true;
    }
    match wait.check(now, bound) {
        Waited::Still => false,
        Waited::Over => true,
        Waited::RanOut => {
            actions.push(Action::Observe(Observation::OrderWaitRanOut(kind)));
            true
        }
    }
}
