//! What the CA needs of a cluster: a Secret, ConfigMaps, the keys of tokens, and reviews of those that the keys do not
//! decide.

use ca::{
    BundleWriter, RootData, RootStore, Saved, StoreError, StoredRoot,
    authenticate::{KeyDocument, KeySource, PodReference, ReviewError, ReviewedToken, TokenReviewer},
};
use futures::{TryStreamExt, future::BoxFuture, stream};
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
        core::v1::{ConfigMap, Namespace, Secret},
    },
};
use kube::{
    Api, Client, Error,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use std::collections::{BTreeMap, BTreeSet};

/// The Secret `istio-ca-secret`.
pub struct SecretStore {
    api: Api<Secret>,
}

const SECRET: &str = "istio-ca-secret";
const SECRET_TYPE: &str = "istio.io/ca-root";

impl SecretStore {
    /// The Secret in a namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace) }
    }
}

impl RootStore for SecretStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<StoredRoot>, StoreError>> {
        Box::pin(async { Ok(self.api.get_opt(SECRET).await.map_err(failed)?.map(stored)) })
    }

    fn save<'a>(&'a self, data: &'a RootData, expected: Option<&'a str>) -> BoxFuture<'a, Result<Saved, StoreError>> {
        Box::pin(async move {
            let metadata =
                ObjectMeta { name: Some(SECRET.to_owned()), resource_version: expected.map(str::to_owned), ..ObjectMeta::default() };
            let values = data.0.iter().map(|(name, value)| (name.clone(), ByteString(value.clone().into_bytes())));
            let secret = Secret { metadata, data: Some(values.collect()), type_: Some(SECRET_TYPE.to_owned()), ..Secret::default() };
            let saved = match expected {
                Some(_) => self.api.replace(SECRET, &PostParams::default(), &secret).await,
                None => self.api.create(&PostParams::default(), &secret).await,
            };
            match saved {
                Ok(secret) => Ok(Saved::Done(stored(secret))),
                // It exists already, was changed, or is gone.
                Err(Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Saved::Conflict),
                Err(error) => Err(failed(error)),
            }
        })
    }
}

fn stored(secret: Secret) -> StoredRoot {
    let values = secret.data.unwrap_or_default().into_iter();
    let data = values.filter_map(|(name, value)| Some((name, String::from_utf8(value.0).ok()?)));
    StoredRoot { data: RootData(data.collect()), version: secret.metadata.resource_version.unwrap_or_default() }
}

fn failed(error: Error) -> StoreError {
    StoreError(error.to_string())
}

/// The ConfigMaps `istio-ca-root-cert` and `istio-ca-crl` of all namespaces.
pub struct ConfigMaps {
    client: Client,
}

/// Namespaces without workloads, to which Istio does not write.
const WITHOUT: [&str; 3] = ["kube-public", "kube-node-lease", "local-path-storage"];

/// Requests under way at a time.
const AT_A_TIME: usize = 8;

impl ConfigMaps {
    /// Those of a cluster.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Writes one ConfigMap to each namespace where it is missing or another.
    async fn publish(&self, name: &str, key: &str, text: &str) -> Result<(), StoreError> {
        let namespaces = Api::<Namespace>::all(self.client.clone()).list(&ListParams::default()).await.map_err(failed)?;
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let present = Api::<ConfigMap>::all(self.client.clone()).list(&only).await.map_err(failed)?;
        let current = |map: &ConfigMap| map.data.as_ref().and_then(|data| data.get(key)).is_some_and(|value| value == text);
        let current: BTreeSet<String> = present.items.into_iter().filter(current).filter_map(|map| map.metadata.namespace).collect();
        let ends = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_some();
        let names = namespaces.items.into_iter().filter(|namespace| !ends(namespace)).filter_map(|namespace| namespace.metadata.name);
        let missing = names.filter(|namespace| !WITHOUT.contains(&namespace.as_str()) && !current.contains(namespace));
        stream::iter(missing.map(Ok))
            .try_for_each_concurrent(AT_A_TIME, |namespace| async move { self.write_one(&namespace, name, key, text).await })
            .await
    }

    async fn write_one(&self, namespace: &str, name: &str, key: &str, text: &str) -> Result<(), StoreError> {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([("istio.io/config".to_owned(), "true".to_owned())])),
            ..ObjectMeta::default()
        };
        let data = Some(BTreeMap::from([(key.to_owned(), text.to_owned())]));
        let map = ConfigMap { metadata, data, ..ConfigMap::default() };
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        match api.patch(name, &PatchParams::apply("istiod").force(), &Patch::Apply(&map)).await {
            Ok(_) => Ok(()),
            // The namespace has been deleted meanwhile, or takes nothing new because it will be.
            Err(Error::Api(status)) if matches!(status.code, 404 | 409) || status.message.contains("being terminated") => Ok(()),
            Err(error) => Err(StoreError(format!("{name} in {namespace}: {error}"))),
        }
    }
}

impl BundleWriter for ConfigMaps {
    fn write<'a>(&'a self, roots: &'a str, crl: Option<&'a str>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.publish("istio-ca-root-cert", "root-cert.pem", roots).await?;
            match crl {
                Some(crl) => self.publish("istio-ca-crl", "ca-crl.pem", crl).await,
                None => Ok(()),
            }
        })
    }
}

/// The keys that an API server publishes, and its answers to TokenReviews.
pub struct ApiServerTokens {
    client: Client,
}

impl ApiServerTokens {
    /// Those of a cluster.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The API server.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    async fn text(&self, path: &str) -> Result<String, String> {
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
        self.client.request_text(request).await.map_err(|error| format!("{path}: {error}"))
    }
}

impl KeySource for ApiServerTokens {
    fn fetch(&self) -> BoxFuture<'_, Result<KeyDocument, String>> {
        Box::pin(async {
            let key_set = self.text("/openid/v1/jwks").await?;
            let configuration = self.text("/.well-known/openid-configuration").await?;
            let configuration: serde_json::Value =
                serde_json::from_str(&configuration).map_err(|error| format!("/.well-known/openid-configuration: {error}"))?;
            let issuer = configuration.get("issuer").and_then(|issuer| issuer.as_str()).map(str::to_owned);
            Ok(KeyDocument { key_set, issuer })
        })
    }
}

impl TokenReviewer for ApiServerTokens {
    fn review<'a>(&'a self, token: &'a str, audiences: &'a [String]) -> BoxFuture<'a, Result<ReviewedToken, ReviewError>> {
        Box::pin(async move {
            let spec = TokenReviewSpec { token: token.to_owned(), audiences: Some(audiences.to_vec()) };
            let review = TokenReview { spec, ..TokenReview::default() };
            let api = Api::<TokenReview>::all(self.client.clone());
            let reviewed = api.create(&PostParams::default(), &review).await.map_err(|error| ReviewError::Failed(error.to_string()))?;
            let status = reviewed.status.unwrap_or_default();
            // A server that knows no audiences leaves them out; then the token may be for anybody.
            let for_us = status.audiences.iter().flatten().any(|audience| audiences.contains(audience));
            match status.user {
                Some(user) if status.authenticated == Some(true) && for_us => Ok(reviewed_token(&user)),
                _ => Err(ReviewError::Refused),
            }
        })
    }
}

fn reviewed_token(user: &UserInfo) -> ReviewedToken {
    let extra = |name: &str| {
        let values = user.extra.as_ref()?.get(&format!("authentication.kubernetes.io/{name}"))?;
        values.first().cloned()
    };
    let pod = extra("pod-name").zip(extra("pod-uid")).map(|(name, uid)| PodReference { name, uid });
    ReviewedToken { username: user.username.clone().unwrap_or_default(), pod }
}
