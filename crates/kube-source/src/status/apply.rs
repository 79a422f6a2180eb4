//! One write: server-side apply of the status of one object.

use super::{
    Leadership, ObjectRevision,
    current::{Current, MANAGER, kind_of, resource},
    event,
};
use base::ObjectRef;
use istio_api::Kind;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Where and how an object's status is written.
#[derive(Clone)]
pub(super) struct Target {
    /// The cluster.
    pub client: Client,
    /// What we lead in.
    pub leadership: Leadership,
    /// Our revision.
    pub revision: Arc<str>,
    /// What the cluster says of the kind.
    pub definition: Definition,
}

/// The definition of a kind that the cluster has.
#[derive(Clone, Copy)]
pub(super) struct Definition {
    /// The newest version that is served; not all of Istio's own definitions serve `v1`.
    pub version: &'static str,
    /// Whether it lets each condition have an owner of its own. Istio's own definitions do not: there whoever applies one
    /// condition replaces all of them.
    pub conditions_are_a_map: bool,
}

/// What became of a write.
pub(super) enum Outcome {
    /// It is stored, or was already.
    Written(Current),
    /// The object is gone.
    Gone,
    /// Another controller owns these fields, or another revision writes them; it is left alone.
    Owned,
    /// Something that may pass.
    Failed(kube::Error),
}

/// Writes `after` to the status of `object`, and Events for what has become false since `before`.
pub(super) async fn apply(target: Target, object: ObjectRef, before: Current, after: Current) -> Outcome {
    let Some(kind) = kind_of(&object) else { return Outcome::Gone };
    match write(&target, kind, &object, after.clone()).await {
        Ok(None) => Outcome::Owned,
        Ok(Some(Written { stored, after })) => {
            event::refusals(&target.client, kind, &stored, &before, &after).await;
            Outcome::Written(after)
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Outcome::Gone,
        Err(kube::Error::Api(status)) if status.code == 409 => {
            tracing::warn!("the status of {object} is another controller's: {}", status.message);
            Outcome::Owned
        }
        Err(error) => Outcome::Failed(error),
    }
}

struct Written {
    stored: DynamicObject,
    after: Current,
}

/// `None` if the object turns out to be another revision's.
async fn write(target: &Target, kind: Kind, object: &ObjectRef, mut after: Current) -> Result<Option<Written>, kube::Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(target.client.clone(), object.namespace.as_str(), &resource(kind, target.definition.version));
    let mut others = Vec::new();
    if after.says.generation.is_none() || !target.definition.conditions_are_a_map {
        let stored = api.get(&object.name).await?;
        if after.says.revision == ObjectRevision::Unknown && !target.leadership.writes(&stored, &target.revision) {
            return Ok(None);
        }
        after.says.generation = after.says.generation.or(stored.metadata.generation);
        if !target.definition.conditions_are_a_map {
            others = conditions_of_others(&stored, &after);
        }
    }
    // Without force: what another manager owns stays its own.
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let full = body(kind, target.definition.version, object, &after, others.clone(), true);
    let stored = match api.patch_status(&object.name, &parameters, &Patch::Apply(&full)).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            // Istio's controllers own the fields beside the conditions where they have run before.
            let conditions = body(kind, target.definition.version, object, &after, others, false);
            api.patch_status(&object.name, &parameters, &Patch::Apply(&conditions)).await?
        }
        answer => answer?,
    };
    Ok(Some(Written { stored, after }))
}

/// The conditions that are not ours.
fn conditions_of_others(stored: &DynamicObject, after: &Current) -> Vec<Value> {
    let ours = |condition: &Value| {
        let name = condition.get("type").and_then(Value::as_str);
        after.says.conditions.iter().any(|ours| Some(ours.condition_type) == name)
    };
    let conditions = stored.data.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().filter(|condition| !ours(condition)).cloned().collect()
}

fn body(kind: Kind, version: &str, object: &ObjectRef, after: &Current, others: Vec<Value>, with_the_rest: bool) -> Value {
    let conditions = after.says.conditions.iter().map(|condition| {
        json!({
            "type": condition.condition_type,
            "status": if condition.holds { "True" } else { "False" },
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": after.since.get(condition.condition_type),
            "observedGeneration": after.says.generation,
        })
    });
    let mut status = Map::new();
    status.insert("conditions".into(), others.into_iter().chain(conditions).collect());
    if with_the_rest {
        status.insert("observedGeneration".into(), json!(after.says.generation));
        let messages = after
            .says
            .messages
            .iter()
            .map(|message| json!({ "type": { "code": message.code, "name": message.name }, "level": message.level }));
        status.insert("validationMessages".into(), messages.collect());
    }
    if with_the_rest && !after.says.addresses.is_empty() {
        let addresses = after.says.addresses.iter().map(|address| json!({ "value": address.value, "host": address.host }));
        status.insert("addresses".into(), addresses.collect());
    }
    json!({
        "apiVersion": format!("{}/{version}", kind.group()),
        "kind": kind.as_str(),
        "metadata": { "name": object.name, "namespace": object.namespace },
        "status": status,
    })
}
