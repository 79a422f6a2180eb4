//! Acknowledgements and refusals, the same for both variants of the protocol.

use crate::{
    connection::{Action, Connection, Observation},
    nack::{at_fault, origins_of},
    type_state::{InFlight, TypeState},
};
use std::{collections::BTreeSet, sync::Arc};
use xds_api::google::rpc::Status;
use xds_wire::ResourceType;

/// What a request says about an earlier response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answered {
    /// Nothing: it carries no nonce.
    Nothing,
    /// The response is accepted or refused.
    Current,
    /// It answers the last response, which it has answered before.
    Again,
    /// It answers a response that is not the last one.
    Stale,
}

/// Longer texts of a client are cut.
const MAX_MESSAGE: usize = 4096;

impl Connection {
    /// Takes note of the nonce and the error of a request.
    pub(crate) fn acknowledge(
        &mut self,
        kind: ResourceType,
        nonce: &str,
        error: Option<Status>,
        now: std::time::Instant,
        actions: &mut Vec<Action>,
    ) -> Answered {
        if nonce.is_empty() {
            return Answered::Nothing;
        }
        // What is served in place of a refused content is no reason to forget the refusal.
        let held = self.view.holds_of(kind).next().is_some();
        let state = self.types.of_mut(kind);
        let Some(position) = state.in_flight.iter().position(|response| *response.sent.nonce == *nonce) else {
            let again = state.sent.as_ref().is_some_and(|sent| *sent.nonce == *nonce);
            if !again {
                actions.push(Action::Observe(Observation::ExpiredNonce(kind)));
            }
            return if again { Answered::Again } else { Answered::Stale };
        };
        // Acknowledgements come in order, so whatever was sent before is answered as well.
        let earlier = state.in_flight.drain(..position).next_back();
        let Some(response) = state.in_flight.pop_front() else { return Answered::Stale };
        match error {
            None => state.accept(kind, (response, held), now, actions),
            Some(error) => {
                self.refuses_hosts(kind, &error.message);
                let state = self.types.of_mut(kind);
                if let Some(earlier) = earlier {
                    state.accept(kind, (earlier, held), now, actions);
                }
                state.refuse(kind, &response, error, actions);
            }
        }
        Answered::Current
    }
}

/// Whether a client goes on without a resource of this type that it refuses, rather than without all of them.
fn is_refused_alone(kind: ResourceType) -> bool {
    matches!(kind, ResourceType::Secret | ResourceType::VirtualHost)
}

impl TypeState {
    fn accept(&mut self, kind: ResourceType, (response, held): (InFlight, bool), now: std::time::Instant, actions: &mut Vec<Action>) {
        let mut acknowledged = response.sent;
        acknowledged.at = now;
        self.acknowledged = Some(acknowledged);
        // One that is accepted says nothing of another.
        let others = is_refused_alone(kind) && self.replica.has_refused();
        if !held && !others && self.error.take().is_some() {
            actions.push(Action::Recovered(kind));
        }
    }

    fn refuse(&mut self, kind: ResourceType, response: &InFlight, error: Status, actions: &mut Vec<Action>) {
        let guilty = at_fault(&response.carried, &error.message);
        let alone = is_refused_alone(kind) && response.carried.len() > 1;
        if alone && guilty.len() != 1 {
            // Envoy leaves off where it refuses one, and does not say which: it is searched for by halves.
            self.portion = Some(response.carried.len() / 2);
            self.replica.try_again(&response.carried, &response.removed);
            return;
        }
        if alone {
            let (named, others): (Vec<_>, Vec<_>) =
                response.carried.iter().cloned().partition(|carried| guilty.iter().any(|resource| resource.name == carried.resource.name));
            self.replica.refused(&named, &[], &guilty);
            self.replica.try_again(&others, &response.removed);
        } else {
            self.replica.refused(&response.carried, &response.removed, &guilty);
        }
        let end = error.message.char_indices().map(|(at, _)| at).nth(MAX_MESSAGE).unwrap_or(error.message.len());
        let message = error.message.get(..end).unwrap_or_default();
        self.error = Some(Arc::from(message));
        let origins: BTreeSet<_> = guilty.iter().flat_map(|resource| origins_of(resource, &error.message)).cloned().collect();
        actions.push(Action::Rejected {
            kind,
            resources: guilty.iter().map(|resource| (resource.name.clone(), resource.version)).collect(),
            origins: origins.into_iter().collect(),
            code: error.code,
            message: message.to_owned(),
        });
    }
}
