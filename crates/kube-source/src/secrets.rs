//! The Secrets that Gateways and DestinationRules name, and no others.
//!
//! Of all Secrets only the metadata is watched, in one stream; what is named is then fetched by itself. So the keys of
//! strangers never leave the API server, and a thousand certificates cost a thousand small requests once and one stream,
//! not a thousand streams. (A watch for each name, by field selector, would cost a connection each.)

use crate::{
    decode::{Head, Name, decode},
    objects::Shared,
    watch::{Backoff, Notice},
};
use config::{Change, Event};
use futures::{StreamExt, stream};
use istio_api::{AnyObject, Kind};
use kube::Client;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// What the kinds of Secret that nobody can name in a Gateway are not even asked for (as in Istio).
pub const FIELDS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token";
/// Secrets that are fetched at a time.
const AT_ONCE: usize = 16;
/// The suffix by which Istio names the authorities that belong to a credential.
const CA_SUFFIX: &str = "-cacert";
/// The fields that name Secrets, wherever they stand.
const FIELDS_WITH_NAMES: [&str; 3] = ["credentialName", "credentialNames", "caCertCredentialName"];

/// The names of Secrets by the object that uses them.
type Users = BTreeMap<(Kind, Name), BTreeSet<Arc<str>>>;

/// The names of Secrets that objects use. A name counts in every namespace: which one is meant depends on where the pods
/// of a gateway are.
#[derive(Clone)]
pub struct Wanted {
    users: watch::Sender<Users>,
}

impl Wanted {
    /// None yet.
    pub fn new() -> Self {
        Self { users: watch::Sender::new(BTreeMap::new()) }
    }

    /// Notes what an object of `kind` names now; `None` when it is gone.
    pub fn note(&self, kind: Kind, user: &Name, object: Option<&AnyObject>) {
        if !matches!(kind, Kind::Gateway | Kind::DestinationRule) {
            return;
        }
        let names = object.and_then(|object| object.to_value().ok()).map(|value| names_in(&value)).unwrap_or_default();
        self.users.send_if_modified(|users| {
            let key = (kind, user.clone());
            if users.get(&key).is_some_and(|old| *old == names) || names.is_empty() && !users.contains_key(&key) {
                return false;
            }
            if names.is_empty() {
                users.remove(&key)
            } else {
                users.insert(key, names)
            };
            true
        });
    }

    fn names(&self) -> BTreeSet<Arc<str>> {
        self.users.borrow().values().flatten().cloned().collect()
    }
}

/// The Secrets that `value` names: `name`, `kubernetes://name`, `kubernetes://namespace/name`, each also with its CA.
fn names_in(value: &Value) -> BTreeSet<Arc<str>> {
    let mut found = BTreeSet::new();
    collect(value, false, &mut found);
    let authorities: Vec<Arc<str>> = found.iter().map(|name| Arc::from(format!("{name}{CA_SUFFIX}"))).collect();
    found.extend(authorities);
    found
}

fn collect(value: &Value, is_name: bool, found: &mut BTreeSet<Arc<str>>) {
    match value {
        Value::String(text) if is_name && !text.is_empty() => {
            found.insert(Arc::from(text.rsplit('/').next().unwrap_or(text)));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_name, found)),
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect(value, FIELDS_WITH_NAMES.contains(&key.as_str()), found));
        }
        _ => {}
    }
}

/// The Secrets of one collection.
pub struct Secrets {
    client: Client,
    shared: Shared,
    /// The version of every Secret that exists.
    known: BTreeMap<Name, String>,
    listing: Option<BTreeMap<Name, String>>,
    /// What has been sent, with its version.
    kept: BTreeMap<Name, (String, AnyObject)>,
    listed: bool,
}

impl Secrets {
    /// No Secrets yet.
    pub fn new(client: Client, shared: Shared) -> Self {
        Self { client, shared, known: BTreeMap::new(), listing: None, kept: BTreeMap::new(), listed: false }
    }

    /// Sends events until nobody listens. `named` is true when all that can name Secrets has been listed; `pending` is let
    /// go when the Secrets named until then have been sent.
    pub async fn run(mut self, mut notices: mpsc::Receiver<Vec<Notice>>, mut named: watch::Receiver<bool>, pending: mpsc::Sender<()>) {
        let mut pending = Some(pending);
        let mut users = self.shared.wanted.users.subscribe();
        let mut scope = self.shared.scope.clone();
        let (mut backoff, mut retry) = (Backoff::default(), None);
        loop {
            tokio::select! {
                batch = notices.recv() => match batch {
                    Some(batch) => batch.into_iter().for_each(|notice| self.take(notice)),
                    None => return,
                },
                changed = users.changed() => if changed.is_err() { return },
                changed = scope.changed() => if changed.is_err() { return },
                changed = named.changed() => if changed.is_err() { return },
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {}
            }
            if !self.listed || scope.borrow().is_none() {
                continue;
            }
            match self.settle().await {
                Ok(true) => {
                    backoff.reset();
                    retry = None;
                    pending = pending.filter(|_| !*named.borrow());
                }
                Ok(false) => retry = Some(Instant::now() + backoff.next()),
                Err(mpsc::error::SendError(_)) => return,
            }
        }
    }

    fn take(&mut self, notice: Notice) {
        let read = |text: &[u8]| {
            let Head { metadata } = serde_json::from_slice(text).ok()?;
            Some((Name { namespace: metadata.namespace, name: metadata.name }, metadata.resource_version))
        };
        match notice {
            Notice::ListBegins => self.listing = Some(BTreeMap::new()),
            Notice::Listed(text) => self.listing.get_or_insert_default().extend(read(&text)),
            Notice::ListEnds => {
                self.known = self.listing.take().unwrap_or_default();
                self.listed = true;
            }
            Notice::Changed(text) => self.known.extend(read(&text)),
            Notice::Deleted(text) => {
                if let Some((name, _)) = read(&text) {
                    self.known.remove(&name);
                }
            }
        }
    }

    /// Withdraws what is not named any more, and fetches what is; false if something could not be fetched.
    async fn settle(&mut self) -> Result<bool, mpsc::error::SendError<Vec<Event>>> {
        let wanted = self.shared.wanted.names();
        let scope = self.shared.scope.borrow().clone();
        let counts = |name: &Name| wanted.contains(&name.name) && scope.as_ref().is_some_and(|scope| scope.has_namespace(&name.namespace));
        let gone: Vec<Name> = self.kept.keys().filter(|name| !counts(name) || !self.known.contains_key(name)).cloned().collect();
        let other =
            self.known.iter().filter(|(name, version)| counts(name) && self.kept.get(name).is_none_or(|(kept, _)| kept != *version));
        let other: Vec<(Name, String)> = other.map(|(name, version)| (name.clone(), version.clone())).collect();
        let mut events = Vec::new();
        for name in gone {
            self.kept.remove(&name);
            events.push(self.event(Change::Delete { kind: Kind::Secret, namespace: name.namespace, name: name.name }));
        }
        let client = &self.client;
        let fetched: Vec<_> = stream::iter(other)
            .map(|(name, version)| async move { (fetch(client, &name).await, name, version) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut complete = true;
        for (result, name, version) in fetched {
            match result {
                Ok(Some(object)) => {
                    if self.kept.get(&name).is_none_or(|(_, kept)| *kept != object) {
                        events.push(self.event(Change::Set(object.clone())));
                    }
                    self.kept.insert(name, (version, object));
                }
                // Gone since; the watch will say so.
                Ok(None) => {}
                Err(message) => {
                    tracing::warn!("Secret {}/{} cannot be fetched, tried again: {message}", name.namespace, name.name);
                    complete = false;
                }
            }
        }
        if !events.is_empty() {
            self.shared.out.send(events).await?;
        }
        Ok(complete)
    }

    fn event(&self, change: Change) -> Event {
        Event { cluster: self.shared.cluster.clone(), change }
    }
}

async fn fetch(client: &Client, name: &Name) -> Result<Option<AnyObject>, String> {
    let path = format!("/api/v1/namespaces/{}/secrets/{}", name.namespace, name.name);
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    match client.request_text(request).await {
        Ok(text) => match decode(Kind::Secret, text.as_bytes()).and_then(|decoded| decoded.object) {
            Some(object) => Ok(Some(object)),
            None => Err("it is malformed".to_owned()),
        },
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_to_name_a_secret() {
        let value = json!({ "spec": { "servers": [
            { "tls": { "credentialName": "shop", "mode": "SIMPLE" } },
            { "tls": { "credentialNames": ["kubernetes://a/rsa", "kubernetes://ecdsa"] } },
            { "tls": { "caCertCredentialName": "clients", "credentialName": "" } },
        ] } });
        let names: Vec<String> = names_in(&value).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["clients", "clients-cacert", "ecdsa", "ecdsa-cacert", "rsa", "rsa-cacert", "shop", "shop-cacert"]);
    }
}
