//! What one stream has asked for, been sent and answered, type by type.

use crate::{
    nack::Carried,
    order::Wait,
    parcel::Extent,
    replica::{Plan, Replica},
    subscription::Interest,
};
use std::{collections::VecDeque, sync::Arc, time::Instant};
use xds_wire::{ResourceName, ResourceType, Resources};

/// The state of one type on one stream.
#[derive(Default)]
pub(crate) struct TypeState {
    /// The client has sent a request for it.
    pub requested: bool,
    /// Its first request is not answered yet.
    pub first_due: bool,
    pub interest: Interest,
    pub replica: Replica,
    /// Responses that are not acknowledged, oldest first.
    pub in_flight: VecDeque<InFlight>,
    pub push_wait: Wait,
    pub removal_wait: Wait,
    pub sent: Option<Sent>,
    pub acknowledged: Option<Sent>,
    pub error: Option<Arc<str>>,
    /// While it is searched for what a client refuses of a response: how many resources go into one.
    pub portion: Option<usize>,
    /// State-of-the-world: a CDS response has gone out since a repeated EDS request was answered.
    pub repeat_allowed: bool,
}

/// A response that is not acknowledged.
pub(crate) struct InFlight {
    pub sent: Sent,
    pub carried: Vec<Carried>,
    pub removed: Vec<ResourceName>,
    /// It brings names that the client did not have.
    pub adds: bool,
}

/// A response, for the debug pages.
#[derive(Clone)]
pub(crate) struct Sent {
    pub nonce: Arc<str>,
    pub revision: u64,
    pub resources: usize,
    pub at: Instant,
}

impl TypeState {
    /// Notes what leaves of a plan; whether it answers the first request.
    pub fn note(&mut self, plan: &Plan, extent: Extent, newest: &Resources) -> bool {
        self.push_wait.end();
        match extent {
            Extent::Everything { removals } => {
                self.replica.sent_all(plan, newest, removals);
                if removals {
                    self.removal_wait.end();
                }
            }
            Extent::Answers => self.replica.sent_answers(plan),
        }
        std::mem::take(&mut self.first_due)
    }

    /// Nothing is due; `complete` if nothing is lacking at all.
    pub fn settle(&mut self, newest: &Resources, complete: bool) {
        self.push_wait.end();
        self.removal_wait.end();
        self.portion = None;
        if complete {
            self.replica.rest(newest);
        }
    }
}

/// The states of all types.
#[derive(Default)]
pub(crate) struct Types {
    clusters: TypeState,
    endpoints: TypeState,
    listeners: TypeState,
    routes: TypeState,
    virtual_hosts: TypeState,
    secrets: TypeState,
    proxy_config: TypeState,
}

impl Types {
    pub fn of(&self, kind: ResourceType) -> &TypeState {
        match kind {
            ResourceType::Cluster => &self.clusters,
            ResourceType::Endpoint => &self.endpoints,
            ResourceType::Listener => &self.listeners,
            ResourceType::Route => &self.routes,
            ResourceType::VirtualHost => &self.virtual_hosts,
            ResourceType::Secret => &self.secrets,
            ResourceType::ProxyConfig => &self.proxy_config,
        }
    }

    pub fn of_mut(&mut self, kind: ResourceType) -> &mut TypeState {
        match kind {
            ResourceType::Cluster => &mut self.clusters,
            ResourceType::Endpoint => &mut self.endpoints,
            ResourceType::Listener => &mut self.listeners,
            ResourceType::Route => &mut self.routes,
            ResourceType::VirtualHost => &mut self.virtual_hosts,
            ResourceType::Secret => &mut self.secrets,
            ResourceType::ProxyConfig => &mut self.proxy_config,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (ResourceType, &TypeState)> {
        ResourceType::ALL.into_iter().map(|kind| (kind, self.of(kind)))
    }
}
