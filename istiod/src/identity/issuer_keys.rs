//! Where the keys of issuers of tokens outlive the process: in a cluster the ConfigMap `istio-issuer-keys` of istiod's
//! namespace, without one a file in the folder of `--caStore`.

use super::IdentityArguments;
use futures::future::BoxFuture;
use jwks::{
    FileKeyStore, KeyStore,
    store::{AllKnown, decode, encode, merged},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Error,
    api::{ObjectMeta, PostParams},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const NAME: &str = "istio-issuer-keys";
const ENTRY: &str = "issuers.json";
const FILE: &str = "issuer-keys.json";

/// Keys that were confirmed within this time of what is kept are not worth a write: of several replicas, the first writes.
const FRESH: Duration = Duration::from_secs(3 * 60 * 60);

/// Issuers that nobody has heard of for longer than the newest are not kept.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The store, if there is a place for one.
pub fn key_store(arguments: &IdentityArguments, client: Option<&Client>) -> Option<Arc<dyn KeyStore>> {
    match (&arguments.ca_store, client) {
        (Some(folder), _) => Some(Arc::new(FileKeyStore(folder.join(FILE)))),
        (None, Some(client)) => Some(Arc::new(ConfigMapStore { api: Api::namespaced(client.clone(), &arguments.namespace) })),
        (None, None) => None,
    }
}

struct ConfigMapStore {
    api: Api<ConfigMap>,
}

impl ConfigMapStore {
    async fn read(&self) -> Result<(Option<ConfigMap>, AllKnown), String> {
        let map = self.api.get_opt(NAME).await.map_err(|error| failed(&error))?;
        let text = map.as_ref().and_then(|map| map.data.as_ref()?.get(ENTRY));
        // What somebody has damaged is written anew.
        let known = text.and_then(|text| decode(text).ok()).unwrap_or_default();
        Ok((map, known))
    }

    async fn write(&self, known: &AllKnown) -> Result<(), String> {
        let (map, kept) = self.read().await?;
        let mut next = merged(&kept, known, FRESH);
        if next == kept {
            return Ok(());
        }
        let newest = next.values().map(|keys| keys.confirmed).max().unwrap_or_default();
        next.retain(|_, keys| keys.confirmed + FORGOTTEN.as_secs() > newest);
        let text = encode(&next).map_err(|error| failed(&error))?;
        let metadata = ObjectMeta {
            name: Some(NAME.to_owned()),
            resource_version: map.as_ref().and_then(|map| map.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        };
        let next = ConfigMap { metadata, data: Some(BTreeMap::from([(ENTRY.to_owned(), text)])), ..ConfigMap::default() };
        let saved = match map {
            Some(_) => self.api.replace(NAME, &PostParams::default(), &next).await,
            None => self.api.create(&PostParams::default(), &next).await,
        };
        match saved {
            Ok(_) => Ok(()),
            // Another replica was faster; what it has not written comes with the next change.
            Err(Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> String {
    format!("the ConfigMap {NAME}: {error}")
}

impl KeyStore for ConfigMapStore {
    fn load(&self) -> BoxFuture<'_, Result<AllKnown, String>> {
        Box::pin(async { Ok(self.read().await?.1) })
    }

    fn save<'a>(&'a self, known: &'a AllKnown) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.write(known))
    }
}
