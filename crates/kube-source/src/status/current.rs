//! The status that objects have: as a new leader finds it, and as it was written since.

use super::{DesiredCondition, DesiredStatus};
use base::{Namespace, ObjectRef};
use istio_api::{Kind, status::IstioStatus};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// The field manager of our writes.
pub(super) const MANAGER: &str = "istiod-status";
/// Objects of one page when a new leader looks around.
const PAGE: u32 = 500;

/// The status of one object, as far as it is ours.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Current {
    /// What it says.
    pub says: DesiredStatus,
    /// When each condition became what it is, RFC 3339.
    pub since: BTreeMap<&'static str, String>,
}

impl Current {
    /// What it will be once `desired` is written: a condition that holds as before keeps its time.
    pub fn after(&self, desired: &DesiredStatus) -> Self {
        let now = Timestamp::now();
        let since = |wanted: &DesiredCondition| {
            let same = self.says.conditions.iter().any(|c| c.condition_type == wanted.condition_type && c.holds == wanted.holds);
            let kept = self.since.get(wanted.condition_type).filter(|_| same).cloned();
            (wanted.condition_type, kept.unwrap_or_else(|| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
        };
        Self { says: desired.clone(), since: desired.conditions.iter().map(since).collect() }
    }

    /// Whether writing `desired` would change nothing. The generation of a refused object is not known, and counts as
    /// the one that the same words were said of.
    pub fn is(&self, desired: &DesiredStatus) -> bool {
        let generation = desired.generation.is_none() || desired.generation == self.says.generation;
        generation
            && self.says.conditions == desired.conditions
            && self.says.messages == desired.messages
            && self.says.addresses == desired.addresses
    }
}

/// How the objects of a kind are addressed in a version.
pub(super) fn resource(kind: Kind, version: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(kind.group(), version, kind.as_str()), kind.plural())
}

/// The kind of an object of Istio's.
pub(super) fn kind_of(object: &ObjectRef) -> Option<Kind> {
    Kind::ALL.iter().copied().find(|kind| kind.as_str() == object.kind && !kind.is_kubernetes())
}

/// The status of every object of the wanted ones, where it already says what is wanted; so that a new leader writes only
/// what differs. Of a kind that is not served there is none.
pub(super) async fn read(
    client: &Client,
    (kind, version): (Kind, &str),
    desired: &super::DesiredStatuses,
) -> Result<BTreeMap<ObjectRef, Current>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind, version));
    let mut found = BTreeMap::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = match api.list(&parameters).await {
            Ok(page) => page,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(found),
            Err(error) => return Err(error),
        };
        for object in page.items {
            let namespace = Namespace::new(object.metadata.namespace.as_deref().unwrap_or_default());
            let name = Arc::from(object.metadata.name.as_deref().unwrap_or_default());
            let reference = ObjectRef { kind: kind.as_str(), namespace, name };
            if let Some(wanted) = desired.get(&reference) {
                found.insert(reference, compare(object.data.get("status"), wanted));
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(found),
        }
    }
}

/// What of `status` says what is wanted; anything else counts as not there, and will be written.
fn compare(status: Option<&Value>, wanted: &DesiredStatus) -> Current {
    let Some(status) = status.and_then(|status| serde_json::from_value::<IstioStatus>(status.clone()).ok().zip(Some(status))) else {
        return Current::default();
    };
    let (typed, raw) = status;
    let mut current = Current::default();
    for condition in &wanted.conditions {
        let Some(stored) = typed.conditions.iter().find(|stored| stored.condition_type == condition.condition_type) else { continue };
        let holds = stored.status == "True";
        let same = holds == condition.holds && stored.reason == condition.reason && stored.message == condition.message;
        // The time is kept if only the words differ.
        let message = if same { condition.message.clone() } else { String::new() };
        current.says.conditions.push(DesiredCondition { holds, message, ..condition.clone() });
        current.since.extend(stored.last_transition_time.clone().map(|time| (condition.condition_type, time)));
    }
    current.says.generation = Some(typed.observed_generation.0);
    let length = |field: &str| raw.get(field).and_then(Value::as_array).map_or(0, Vec::len);
    let codes =
        typed.validation_messages.iter().map(|message| message.message_type.as_ref().map(|kind| (kind.code.as_str(), kind.name.as_str())));
    if codes.eq(wanted.messages.iter().map(|message| Some((message.code, message.name.as_str())))) {
        current.says.messages = wanted.messages.clone();
    }
    let address = |(index, wanted): (usize, &super::DesiredAddress)| {
        let stored = raw.get("addresses").and_then(|addresses| addresses.get(index));
        stored.is_some_and(|stored| stored.get("value").and_then(Value::as_str) == Some(&wanted.value))
    };
    if length("addresses") == wanted.addresses.len() && wanted.addresses.iter().enumerate().all(address) {
        current.says.addresses = wanted.addresses.clone();
    }
    current
}
