//! The configuration by which the API server asks us: its CA bundle, what we are asked about, and the failure policy.
//!
//! A chart leaves out what is ours to keep up, so that none of its releases is ever in conflict with us: an entry without
//! rules, of which nobody is asked anything, gets them here, and asks in vain (`Ignore`) until it has been seen to work.
//!
//! Every replica does this. Two with different bundles (in a rotation of the root) do not take turns in overwriting each
//! other: a bundle that holds all of our certificates is left alone, so that the widest one stays.

use crate::{metrics::Metrics, review::ALWAYS_REJECT};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;
use k8s_openapi::{
    ByteString, api::admissionregistration::v1::ValidatingWebhook, api::admissionregistration::v1::ValidatingWebhookConfiguration,
};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchParams},
    core::{ApiResource, GroupVersionKind, ObjectMeta, TypeMeta},
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// The groups whose objects we may hold up. With `Fail` on any other one, an istiod that is down could keep its own Pods
/// from being made.
const GROUPS: [&str; 4] = ["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"];
/// The owner of the fields that we keep up.
const MANAGER: &str = "istiod-webhook";
/// The label by which a configuration is ours.
const REVISION: &str = "istio.io/rev";
/// The pauses after failures, and until it is looked at again although nothing has happened.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_secs(600);

/// What the API server does when it cannot ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FailurePolicy {
    /// It refuses; set only once asking has worked.
    #[default]
    Fail,
    /// It stores the object.
    Ignore,
}

impl FailurePolicy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "Fail",
            Self::Ignore => "Ignore",
        }
    }
}

impl std::str::FromStr for FailurePolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Fail, Self::Ignore]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| format!("{text:?} is neither Fail nor Ignore"))
    }
}

/// Keeps the configurations of our revision up.
pub struct Upkeep {
    /// The cluster.
    pub client: Client,
    /// Our own namespace, in which objects are created for trial (never stored).
    pub namespace: String,
    /// Our revision, `default` if it has no other name.
    pub revision: String,
    /// What is wanted.
    pub policy: FailurePolicy,
    /// The certificates, in PEM, of which one has signed the certificate of our server.
    pub ca_bundle: watch::Receiver<Arc<str>>,
    /// What is counted.
    pub metrics: Metrics,
}

/// What is left to do after a round.
enum Round {
    Done,
    /// The API server does not ask us yet; it may take a moment to see a change.
    NotAsked,
}

impl Upkeep {
    /// Follows the configurations and the bundle, for ever.
    pub async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.ca_bundle.mark_unchanged();
            let mut bundle = self.ca_bundle.clone();
            let (wait, version) = match self.round().await {
                Ok((Round::Done, version)) => {
                    pause = FIRST_PAUSE;
                    (QUIET, version)
                }
                Ok((Round::NotAsked, version)) => (pause, version),
                Err(error) => {
                    self.metrics.update_errors.with_label_values(&["kube_api_error"]).inc();
                    tracing::warn!("the configuration of the webhook is not kept up: {error}; next try in {pause:?}");
                    (pause, None)
                }
            };
            if wait != QUIET {
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed(version.as_deref()) => {}
                changed = bundle.changed() => if changed.is_err() { return },
            }
        }
    }

    fn configurations(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    fn selector(&self) -> String {
        format!("{REVISION}={}", self.revision)
    }

    /// Resolves when a configuration of ours has changed after `version`, or nobody can tell any more.
    async fn changed(&self, version: Option<&str>) {
        let Some(version) = version else { return std::future::pending().await };
        let parameters = WatchParams::default().labels(&self.selector());
        if let Ok(events) = self.configurations().watch(&parameters, version).await {
            let mut events = Box::pin(events);
            drop(events.next().await);
        }
        // A watch that ends at once must not become a loop.
        tokio::time::sleep(FIRST_PAUSE).await;
    }

    async fn round(&self) -> Result<(Round, Option<String>), kube::Error> {
        let found = self.configurations().list(&ListParams::default().labels(&self.selector())).await?;
        let mut round = Round::Done;
        for configuration in found.items {
            if let Round::NotAsked = self.keep(configuration).await? {
                round = Round::NotAsked;
            }
        }
        Ok((round, found.metadata.resource_version))
    }

    async fn keep(&self, configuration: ValidatingWebhookConfiguration) -> Result<Round, kube::Error> {
        let Some(name) = configuration.metadata.name else { return Ok(Round::Done) };
        let mut webhooks = configuration.webhooks.unwrap_or_default();
        let bundle = self.ca_bundle.borrow().clone();
        let stale: Vec<Value> = webhooks.iter().filter_map(|webhook| missing(webhook, &bundle)).collect();
        if !stale.is_empty() {
            webhooks = self.patch(&name, stale).await?.webhooks.unwrap_or_default();
            tracing::info!(configuration = name, "the CA bundle and the rules of the webhook are up to date");
        }
        let other = |webhook: &&ValidatingWebhook| webhook.failure_policy.as_deref() != Some(self.policy.as_str());
        let mut changes = Vec::new();
        let mut round = Round::Done;
        for webhook in webhooks.iter().filter(other) {
            if self.policy == FailurePolicy::Fail {
                if !is_only_istios(&name, webhook) {
                    continue;
                }
                if !self.is_asked(webhook).await? {
                    round = Round::NotAsked;
                    continue;
                }
            }
            changes.push(json!({ "name": webhook.name, "failurePolicy": self.policy.as_str() }));
        }
        if !changes.is_empty() {
            self.patch(&name, changes).await?;
            tracing::info!(configuration = name, policy = self.policy.as_str(), "the failure policy of the webhook is set");
        }
        Ok(round)
    }

    async fn patch(&self, name: &str, webhooks: Vec<Value>) -> Result<ValidatingWebhookConfiguration, kube::Error> {
        let patch = Patch::Strategic(json!({ "webhooks": webhooks }));
        let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let patched = self.configurations().patch(name, &parameters, &patch).await?;
        self.metrics.updates.inc();
        Ok(patched)
    }

    /// Creates, for trial, an object that we always refuse. Only if the refusal comes back, the API server has asked us.
    async fn is_asked(&self, webhook: &ValidatingWebhook) -> Result<bool, kube::Error> {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("networking.istio.io", "v1", "Gateway"), "gateways");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let metadata = ObjectMeta {
            name: Some("istiod-webhook-trial".into()),
            annotations: Some([(ALWAYS_REJECT.into(), "true".into())].into()),
            labels: revision_of(webhook).map(|revision| [(REVISION.into(), revision)].into()),
            ..ObjectMeta::default()
        };
        let servers = json!([{ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["trial.invalid"] }]);
        let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
        let object = DynamicObject { metadata, data: json!({ "spec": { "servers": servers } }), types: Some(types) };
        match api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await {
            Ok(_) => Ok(false),
            Err(kube::Error::Api(status)) if status.message.contains(ALWAYS_REJECT) => Ok(true),
            Err(kube::Error::Api(status)) if status.message.contains("failed calling webhook") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What an entry lacks before the API server can ask by it.
fn missing(webhook: &ValidatingWebhook, bundle: &str) -> Option<Value> {
    let mut fields = Map::new();
    if !holds(webhook.client_config.ca_bundle.as_ref(), bundle) {
        fields.insert("clientConfig".into(), json!({ "caBundle": STANDARD.encode(bundle.as_bytes()) }));
    }
    if webhook.rules.as_ref().is_none_or(Vec::is_empty) {
        let rule = json!({ "operations": ["CREATE", "UPDATE"], "apiGroups": GROUPS, "apiVersions": ["*"], "resources": ["*"] });
        fields.insert("rules".into(), json!([rule]));
        fields.insert("failurePolicy".into(), json!(FailurePolicy::Ignore.as_str()));
    }
    (!fields.is_empty()).then(|| {
        fields.insert("name".into(), json!(webhook.name));
        Value::Object(fields)
    })
}

/// Whether the webhook asks about Istio's objects only, so that it may hold them up.
fn is_only_istios(name: &str, webhook: &ValidatingWebhook) -> bool {
    let mut groups = webhook.rules.iter().flatten().flat_map(|rule| rule.api_groups.iter().flatten());
    let Some(group) = groups.find(|group| !GROUPS.contains(&group.as_str())) else { return true };
    let entry = &webhook.name;
    tracing::warn!("{entry} in ValidatingWebhookConfiguration {name} asks about group {group:?} too: its failurePolicy stays as it is");
    false
}

/// The revision that an object must have for this webhook to be asked about it.
fn revision_of(webhook: &ValidatingWebhook) -> Option<String> {
    let expressions = webhook.object_selector.as_ref()?.match_expressions.as_ref()?;
    let expression = expressions.iter().find(|expression| expression.key == REVISION && expression.operator == "In")?;
    expression.values.as_ref()?.first().cloned()
}

/// Whether `stored` holds every certificate of `wanted`.
fn holds(stored: Option<&ByteString>, wanted: &str) -> bool {
    let stored = stored.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default();
    let of = |text: &str| certificates(text).collect::<Vec<String>>();
    let stored = of(&stored);
    let wanted = of(wanted);
    !wanted.is_empty() && wanted.iter().all(|certificate| stored.contains(certificate))
}

/// The bodies of the certificates, without white space.
fn certificates(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split("-----BEGIN CERTIFICATE-----").skip(1).map(|part| {
        let body = part.split("-----END").next().unwrap_or_default();
        body.split_whitespace().collect()
    })
}
