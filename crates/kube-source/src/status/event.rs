//! Events for what has become false: they show in `kubectl describe` and `kubectl get events`.

use super::{DesiredCondition, current::Current};
use istio_api::Kind;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::json;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Who reports.
const COMPONENT: &str = "istiod";
/// The API server takes no longer message.
const LONGEST_MESSAGE: usize = 1024;

/// Reports each condition that does not hold, and did or said something else before. That it cannot be reported is worth
/// a line in the log only: the status says the same.
pub(super) async fn refusals(client: &Client, kind: Kind, stored: &DynamicObject, before: &Current, after: &Current) {
    for condition in after.says.conditions.iter().filter(|condition| !condition.holds && !before.says.conditions.contains(condition)) {
        if let Err(error) = report(client, kind, stored, condition).await {
            tracing::warn!("no Event can be written for {kind} {}: {error}", stored.metadata.name.as_deref().unwrap_or_default());
        }
    }
}

async fn report(client: &Client, kind: Kind, stored: &DynamicObject, condition: &DesiredCondition) -> Result<(), kube::Error> {
    let namespace = stored.metadata.namespace.clone().unwrap_or_default();
    let object_name = stored.metadata.name.clone().unwrap_or_default();
    let mut message = condition.message.clone();
    message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
    // The same words about the same object are one Event, whoever leads.
    let mut hasher = DefaultHasher::new();
    (kind.as_str(), &stored.metadata.uid, condition.reason, &message).hash(&mut hasher);
    let now = Time(Timestamp::now());
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{object_name}.{:016x}", hasher.finish())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(kind.api_version().into()),
            kind: Some(kind.as_str().into()),
            name: Some(object_name),
            namespace: Some(namespace.clone()),
            uid: stored.metadata.uid.clone(),
            ..ObjectReference::default()
        },
        type_: Some("Warning".into()),
        reason: Some(condition.reason.into()),
        message: Some(message),
        source: Some(EventSource { component: Some(COMPONENT.into()), host: None }),
        reporting_component: Some(COMPONENT.into()),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now.clone()),
        count: Some(1),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    match api.create(&PostParams::default(), &event).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let name = event.metadata.name.unwrap_or_default();
            api.patch(&name, &PatchParams::default(), &Patch::Merge(json!({ "lastTimestamp": now }))).await?;
            Ok(())
        }
        answer => answer.map(drop),
    }
}
