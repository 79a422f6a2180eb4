//! The delta variant: what its requests mean, and the outer fields of its responses.

use crate::{
    connection::{Action, Connection, Observation, Protocol, ProtocolError, Response},
    discovery::SecretAccess,
    replica::Exception,
    wire::put_string,
};
use bytes::BytesMut;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};
use xds_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use xds_wire::{ResourceName, ResourceType, Version};

/// By this type agents of virtual machines say how their application is; there is no answer to it.
const HEALTH: &str = "type.googleapis.com/istio.v1.HealthInformation";

impl Connection {
    pub(crate) fn on_delta(
        &mut self,
        request: DeltaDiscoveryRequest,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), ProtocolError> {
        let Some(kind) = ResourceType::from_url(&request.type_url) else {
            self.answer_unknown_type(request, actions);
            return Ok(());
        };
        self.acknowledge(kind, &request.response_nonce, request.error_detail, now, actions);
        let first = !self.types.of(kind).requested;
        let asks = first || !request.resource_names_subscribe.is_empty();
        if kind == ResourceType::Secret && asks && self.settings.secrets == SecretAccess::None {
            actions.push(Action::Observe(Observation::SecretsRefused));
        }
        if first && kind == ResourceType::Route {
            self.decide(&request.initial_resource_versions);
        }
        // Subscriptions count whatever the request says about an earlier response.
        if first {
            let state = self.types.of_mut(kind);
            state.requested = true;
            state.first_due = true;
            state.interest.wildcard = kind.is_wildcard() && request.resource_names_subscribe.is_empty();
            if !state.interest.wildcard {
                self.start_from_newest(kind);
            }
        }
        self.subscribe(kind, &request.resource_names_subscribe)?;
        if first {
            self.believe(kind, request.initial_resource_versions)?;
        }
        self.unsubscribe(kind, &request.resource_names_unsubscribe);
        Ok(())
    }

    /// A client without a wildcard has nothing to be told about names that it has not asked for.
    pub(crate) fn start_from_newest(&mut self, kind: ResourceType) {
        let newest = self.wanted(kind, &self.view);
        let state = self.types.of_mut(kind);
        state.replica.start_from(newest);
    }

    fn subscribe(&mut self, kind: ResourceType, names: &[String]) -> Result<(), ProtocolError> {
        for name in names {
            if name == "*" {
                self.subscribe_to_all(kind);
                continue;
            }
            let name = self.shared_name(kind, name);
            let state = self.types.of_mut(kind);
            state.interest.add(name.clone(), &mut self.budget)?;
            state.replica.owe(name);
        }
        Ok(())
    }

    /// Nobody may ask for all secrets.
    pub(crate) fn subscribe_to_all(&mut self, kind: ResourceType) {
        let state = self.types.of_mut(kind);
        if kind != ResourceType::Secret && !state.interest.wildcard {
            state.interest.wildcard = true;
            state.replica.forget();
        }
    }

    fn unsubscribe(&mut self, kind: ResourceType, names: &[String]) {
        let state = self.types.of_mut(kind);
        for name in names {
            if name == "*" {
                state.interest.wildcard = false;
            } else if state.interest.remove(name, &mut self.budget) {
                state.replica.drop_name(name);
                if state.interest.wildcard {
                    state.replica.owe(ResourceName::from(name.as_str()));
                }
            }
        }
    }

    /// The client comes back and says what it holds, so it is sent nothing that it has.
    fn believe(&mut self, kind: ResourceType, versions: BTreeMap<String, String>) -> Result<(), ProtocolError> {
        if versions.is_empty() {
            return Ok(());
        }
        self.budget.allows(versions.len())?;
        self.reconnected = true;
        if kind == ResourceType::VirtualHost {
            self.believe_hosts(versions);
            return Ok(());
        }
        // A cluster that was just sent is warmed by Envoy until its endpoints come again.
        let warming: BTreeSet<ResourceName> = match kind {
            ResourceType::Endpoint => {
                let clusters = &self.types.of(ResourceType::Cluster).in_flight;
                clusters.iter().flat_map(|response| &response.carried).map(|c| c.resource.name.clone()).collect()
            }
            _ => BTreeSet::new(),
        };
        for (name, version) in versions {
            let name = self.shared_name(kind, &name);
            let state = self.types.of_mut(kind);
            if !state.interest.covers(&name) || warming.contains(&name) {
                continue;
            }
            let exception = match version.parse::<Version>() {
                Ok(version) => Exception::Holds(version, None),
                Err(_) => Exception::Stale, // not a version of ours
            };
            state.replica.except(name, exception);
        }
        Ok(())
    }

    /// The name as the view has it, so that all streams share its bytes.
    pub(crate) fn shared_name(&self, kind: ResourceType, name: &str) -> ResourceName {
        self.view.of(kind).get(name).map_or_else(|| ResourceName::from(name), |resource| resource.name.clone())
    }

    /// A client that waits for a type which is not served must not wait for ever.
    fn answer_unknown_type(&mut self, request: DeltaDiscoveryRequest, actions: &mut Vec<Action>) {
        if !request.response_nonce.is_empty() && request.resource_names_subscribe.is_empty() {
            return;
        }
        let removed = request.resource_names_subscribe.iter().map(|name| ResourceName::from(name.as_str())).collect();
        self.answer_nothing(request.type_url, removed, actions);
    }

    /// Answers that nothing exists of a type that is not served.
    pub(crate) fn answer_nothing(&mut self, type_url: String, removed: Vec<ResourceName>, actions: &mut Vec<Action>) {
        if type_url == HEALTH {
            return;
        }
        let revision = self.view.revision;
        let nonce = self.next_nonce(revision).to_string();
        let protocol = self.settings.protocol;
        actions.push(Action::Observe(Observation::UnknownType));
        actions.push(Action::Send(Response { protocol, kind: None, type_url, nonce, revision, resources: Vec::new(), removed }));
    }
}

/// Encodes everything of a `DeltaDiscoveryResponse` but its resources.
pub(crate) fn put_head(response: &Response, out: &mut BytesMut) {
    debug_assert_eq!(response.protocol, Protocol::Delta);
    put_string(out, 1, &response.revision.to_string()); // system_version_info
    put_string(out, 4, &response.type_url);
    put_string(out, 5, &response.nonce);
    for name in &response.removed {
        put_string(out, 6, name); // removed_resources
    }
}
