//! The state-of-the-world variant: what its requests mean, and what its responses must hold.

use crate::{
    acknowledgement::Answered,
    connection::{Action, Connection, Observation, ProtocolError, Response},
    discovery::SecretAccess,
    nack::Carried,
    wire::put_string,
};
use bytes::BytesMut;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};
use xds_api::envoy::service::discovery::v3::DiscoveryRequest;
use xds_wire::{Encoded, ResourceName, ResourceType, Resources};

impl Connection {
    pub(crate) fn on_sotw(&mut self, request: DiscoveryRequest, now: Instant, actions: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let Some(kind) = ResourceType::from_url(&request.type_url) else {
            if request.response_nonce.is_empty() {
                self.answer_nothing(request.type_url, Vec::new(), actions);
            }
            return Ok(());
        };
        let first = !self.types.of(kind).requested;
        if first && kind == ResourceType::Route {
            self.decide(&BTreeMap::new());
        }
        let answered = self.acknowledge(kind, &request.response_nonce, request.error_detail, now, actions);
        if answered == Answered::Stale && !first {
            return Ok(()); // the acknowledgement of the last response repeats the names
        }
        if kind == ResourceType::Secret && first && self.settings.secrets == SecretAccess::None {
            actions.push(Action::Observe(Observation::SecretsRefused));
        }
        let wildcard = self.wants_all(kind, first, &request.resource_names);
        if first {
            let state = self.types.of_mut(kind);
            state.requested = true;
            state.first_due = true;
            if !wildcard {
                self.start_from_newest(kind);
            }
        }
        let changed = self.replace_names(kind, wildcard, &request.resource_names)?;
        if answered == Answered::Nothing && !first {
            self.answer_all(kind);
        } else if answered == Answered::Again && !changed {
            self.answer_repeated(kind);
        }
        Ok(())
    }

    /// No names mean all of CDS and LDS, until the client names one.
    fn wants_all(&self, kind: ResourceType, first: bool, names: &[String]) -> bool {
        let state = self.types.of(kind);
        let never_named = first || (state.interest.wildcard && state.interest.names().is_empty());
        names.iter().any(|name| name == "*") || (names.is_empty() && kind.is_wildcard() && never_named)
    }

    /// Takes over the names of a request; whether they differ from those of the last one.
    fn replace_names(&mut self, kind: ResourceType, wildcard: bool, names: &[String]) -> Result<bool, ProtocolError> {
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).filter(|name| *name != "*").collect();
        let state = self.types.of_mut(kind);
        let gone: Vec<_> = state.interest.names().iter().filter(|name| !wanted.contains(&***name)).cloned().collect();
        let mut changed = !gone.is_empty();
        for name in gone {
            state.interest.remove(&name, &mut self.budget);
            state.replica.drop_name(&name);
        }
        for name in wanted {
            if self.types.of(kind).interest.has_name(name) {
                continue;
            }
            changed = true;
            let name = self.shared_name(kind, name);
            let state = self.types.of_mut(kind);
            state.interest.add(name.clone(), &mut self.budget)?;
            state.replica.owe(name);
        }
        if wildcard {
            changed |= !self.types.of(kind).interest.wildcard;
            self.subscribe_to_all(kind);
        } else {
            self.types.of_mut(kind).interest.wildcard = false;
        }
        Ok(changed)
    }

    /// A request without a nonce begins anew.
    fn answer_all(&mut self, kind: ResourceType) {
        let state = self.types.of_mut(kind);
        state.first_due = true;
        for name in state.interest.names() {
            state.replica.owe(name.clone());
        }
    }

    /// Envoy repeats its EDS request, names, version and nonce unchanged, when a changed cluster waits for endpoints.
    fn answer_repeated(&mut self, kind: ResourceType) {
        let state = self.types.of_mut(kind);
        if kind == ResourceType::Endpoint && std::mem::take(&mut state.repeat_allowed) {
            for name in state.interest.names() {
                state.replica.resend(name);
            }
        }
    }

    /// Absence removes clusters and listeners, so those are sent in full. For endpoints and routes it means nothing:
    /// what changed is enough, and an empty resource stands for one that does not exist.
    pub(crate) fn state_of_the_world(
        &self,
        kind: ResourceType,
        newest: &Resources,
        changed: Vec<Carried>,
        removed: &mut Vec<ResourceName>,
    ) -> Vec<Carried> {
        if kind.is_wildcard() {
            return self.full_set(kind, newest, &changed);
        }
        let mut carried = changed;
        for name in removed.drain(..) {
            if let Some(resource) = empty_resource(kind, name) {
                carried.push(Carried { resource: Arc::new(resource), fresh: true });
            }
        }
        carried.sort_by(|a, b| a.resource.name.cmp(&b.resource.name));
        carried
    }

    fn full_set(&self, kind: ResourceType, newest: &Resources, changed: &[Carried]) -> Vec<Carried> {
        let state = self.types.of(kind);
        let fresh: BTreeSet<&str> = changed.iter().filter(|c| c.fresh).map(|c| &*c.resource.name).collect();
        let all: Vec<&Arc<Encoded>> = if state.interest.wildcard {
            newest.iter().collect()
        } else {
            state.interest.names().iter().filter_map(|name| newest.get(name)).collect()
        };
        let held = state.replica.held(newest).filter(|resource| state.interest.covers(&resource.name));
        let carried = all.into_iter().chain(held).map(|r| Carried { resource: r.clone(), fresh: fresh.contains(&*r.name) });
        let mut carried: Vec<_> = carried.collect();
        carried.sort_by(|a, b| a.resource.name.cmp(&b.resource.name));
        carried
    }
}

/// A resource with nothing but its name, which is field 1 of both types.
fn empty_resource(kind: ResourceType, name: ResourceName) -> Option<Encoded> {
    if !matches!(kind, ResourceType::Endpoint | ResourceType::Route) {
        return None;
    }
    let mut body = BytesMut::new();
    put_string(&mut body, 1, &name);
    Some(Encoded::new(kind, name, &body, Arc::from([])))
}

/// Encodes everything of a `DiscoveryResponse` but its resources.
pub(crate) fn put_head(response: &Response, out: &mut BytesMut) {
    put_string(out, 1, &response.revision.to_string()); // version_info
    put_string(out, 4, &response.type_url);
    put_string(out, 5, &response.nonce);
}
