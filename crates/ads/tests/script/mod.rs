//! A client without a network: requests go straight into the state machine, on a clock of the test's own.
#![allow(dead_code, unused_imports)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed unwrap is a failed test

use ads::{Action, Connection, ConnectionSettings, Limits, Observation, Protocol, Request, Response, Waits};
use base::ObjectRef;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use xds_api::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    google::rpc::Status,
};
use xds_wire::{Encoded, ResourceName, ResourceType, Resources, View};

pub use ResourceType::{Cluster, Endpoint, Listener, Route, Secret};

/// A resource whose content is any text; its origin is a Service of the same name.
pub fn resource(kind: ResourceType, name: &str, content: &str) -> Arc<Encoded> {
    let origin = ObjectRef::new("Service", "shop", name);
    Arc::new(Encoded::new(kind, name.into(), content.as_bytes(), Arc::from([origin])))
}

/// A view of the given revision.
pub fn view(revision: u64, rows: &[(ResourceType, &str, &str)]) -> Arc<View> {
    let mut view = View::new(revision);
    for kind in ResourceType::ALL {
        let of_kind = rows.iter().filter(|row| row.0 == kind);
        let rows = of_kind.map(|(_, name, content)| (ResourceName::from(*name), resource(kind, name, content)));
        view.set(kind, Resources::new(rows.collect()));
    }
    Arc::new(view)
}

/// One stream and its clock.
pub struct Script {
    pub connection: Connection,
    pub now: Instant,
    protocol: Protocol,
    names: BTreeMap<ResourceType, Vec<String>>,
}

impl Script {
    pub fn delta(view: Arc<View>) -> Self {
        Self::new(view, Protocol::Delta, |_| {})
    }

    pub fn sotw(view: Arc<View>) -> Self {
        Self::new(view, Protocol::StateOfTheWorld, |_| {})
    }

    pub fn new(view: Arc<View>, protocol: Protocol, change: impl FnOnce(&mut ConnectionSettings)) -> Self {
        let mut settings = ConnectionSettings {
            protocol,
            secrets: ads::SecretAccess::All,
            virtual_hosts: true,
            nonce_prefix: "test".to_owned(),
            limits: Limits::default(),
            waits: Waits::default(),
        };
        change(&mut settings);
        let now = Instant::now();
        Self { connection: Connection::new(settings, view, now), now, protocol, names: BTreeMap::new() }
    }

    pub fn send(&mut self, request: impl Into<Sent>) -> Vec<Action> {
        self.connection.on_request(request.into().0, self.now).unwrap()
    }

    pub fn view(&mut self, view: Arc<View>) -> Vec<Action> {
        self.connection.on_view(view, self.now)
    }

    /// Lets time pass, with a tick at every deadline on the way, and at the end only if `deadline` asks for it.
    pub fn wait(&mut self, time: Duration) -> Vec<Action> {
        let end = self.now + time;
        let mut actions = Vec::new();
        while let Some(deadline) = self.connection.deadline().filter(|deadline| *deadline <= end) {
            assert!(deadline >= self.now, "a deadline in the past makes the driver spin");
            self.now = deadline;
            actions.extend(self.connection.on_tick(self.now));
            assert!(self.connection.deadline() != Some(deadline), "the deadline that was served stays");
        }
        self.now = end;
        actions
    }

    /// Subscribes; the names add to those before (state-of-the-world repeats all of them).
    pub fn subscribe(&mut self, kind: ResourceType, names: &[&str]) -> Vec<Action> {
        let all = self.names.entry(kind).or_default();
        all.extend(names.iter().map(|name| name.to_string()));
        match self.protocol {
            Protocol::Delta => self.send(delta(kind, |request| request.resource_names_subscribe = strings(names))),
            Protocol::StateOfTheWorld => {
                let all = all.clone();
                self.send(sotw(kind, |request| request.resource_names = all))
            }
        }
    }

    pub fn acknowledge(&mut self, response: &Response) -> Vec<Action> {
        self.answer(response, None)
    }

    pub fn refuse(&mut self, response: &Response, message: &str) -> Vec<Action> {
        self.answer(response, Some(Status { code: 13, message: message.to_owned(), details: Vec::new() }))
    }

    fn answer(&mut self, response: &Response, error: Option<Status>) -> Vec<Action> {
        let kind = response.kind.unwrap();
        match self.protocol {
            Protocol::Delta => self.send(delta(kind, |request| {
                request.response_nonce = response.nonce.clone();
                request.error_detail = error;
            })),
            Protocol::StateOfTheWorld => {
                let names = self.names.get(&kind).cloned().unwrap_or_default();
                self.send(sotw(kind, |request| {
                    request.response_nonce = response.nonce.clone();
                    request.resource_names = names;
                    request.error_detail = error;
                }))
            }
        }
    }

    /// Answers as an Envoy that takes everything but one resource, and does not say which; what is sent, and what is said of
    /// refusals.
    pub fn against(&mut self, mut pending: Vec<Response>, bad: &str) -> (Vec<String>, Vec<String>) {
        let (mut sent, mut said) = (Vec::new(), Vec::new());
        while !pending.is_empty() {
            let response = pending.remove(0);
            sent.push(brief(&response));
            let actions = match response.resources.iter().any(|resource| *resource.name == *bad) {
                true => self.refuse(&response, "cannot be read"),
                false => self.acknowledge(&response),
            };
            pending.extend(responses(&actions));
            for action in actions {
                match action {
                    Action::Rejected { resources, .. } => said.extend(resources.iter().map(|(name, _)| format!("{name} refused"))),
                    Action::Recovered(kind) => said.push(format!("{kind} recovered")),
                    _ => {}
                }
            }
        }
        (sent, said)
    }

    /// Subscribes as Envoy does at its start and accepts everything.
    pub fn started(mut self, endpoints: &[&str], routes: &[&str]) -> Self {
        for (kind, names) in [(Cluster, [].as_slice()), (Endpoint, endpoints), (Listener, &[]), (Route, routes)] {
            let response = only(self.subscribe(kind, names));
            assert_eq!(responses(&self.acknowledge(&response)), []);
        }
        self
    }
}

/// A request of either variant.
pub struct Sent(pub Request);

impl From<DeltaDiscoveryRequest> for Sent {
    fn from(request: DeltaDiscoveryRequest) -> Self {
        Self(Request::Delta(request))
    }
}

impl From<DiscoveryRequest> for Sent {
    fn from(request: DiscoveryRequest) -> Self {
        Self(Request::StateOfTheWorld(request))
    }
}

pub fn delta(kind: ResourceType, change: impl FnOnce(&mut DeltaDiscoveryRequest)) -> DeltaDiscoveryRequest {
    let mut request = DeltaDiscoveryRequest { type_url: kind.url().to_owned(), ..Default::default() };
    change(&mut request);
    request
}

pub fn sotw(kind: ResourceType, change: impl FnOnce(&mut DiscoveryRequest)) -> DiscoveryRequest {
    let mut request = DiscoveryRequest { type_url: kind.url().to_owned(), ..Default::default() };
    change(&mut request);
    request
}

pub fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

/// The responses among the actions.
pub fn responses(actions: &[Action]) -> Vec<Response> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send(response) => Some(response.clone()),
            _ => None,
        })
        .collect()
}

/// The one response among the actions.
pub fn only(actions: Vec<Action>) -> Response {
    let mut all = responses(&actions);
    assert_eq!(all.len(), 1, "{actions:?}");
    all.remove(0)
}

/// `+name` for every resource and `-name` for every removal.
pub fn brief(response: &Response) -> String {
    let set = response.resources.iter().map(|resource| format!("+{}", resource.name));
    let removed = response.removed.iter().map(|name| format!("-{name}"));
    format!("{}: {}", response.kind.unwrap(), set.chain(removed).collect::<Vec<_>>().join(" "))
}

/// All responses in short.
pub fn briefs(actions: &[Action]) -> Vec<String> {
    responses(actions).iter().map(brief).collect()
}

pub fn observations(actions: &[Action]) -> Vec<Observation> {
    let observed = actions.iter().filter_map(|action| match action {
        Action::Observe(Observation::Converged(_)) => None,
        Action::Observe(observation) => Some(*observation),
        _ => None,
    });
    observed.collect()
}
