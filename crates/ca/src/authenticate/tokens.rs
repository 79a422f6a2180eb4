//! The tokens of all clusters: from memory, by the keys of the cluster, or by asking it.

use super::{
    Refusal,
    cache::Cache,
    jwks::{KeySet, KeySetError},
    jwt::{self, Claims, Expected, PodReference, TokenError},
};
use crate::{digest, signer::seconds};
use base::ClusterId;
use futures::future::BoxFuture;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};
use tokio::{sync::Mutex, time::Instant};

/// What a cluster publishes of the keys that its tokens are signed with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyDocument {
    /// A JSON Web Key Set; of an API server the answer to `/openid/v1/jwks`.
    pub key_set: String,
    /// The issuer of its tokens; of an API server `issuer` of `/.well-known/openid-configuration`. `None` accepts any
    /// that the keys prove.
    pub issuer: Option<String>,
}

/// Where the keys of a cluster come from.
pub trait KeySource: Send + Sync {
    /// The keys as they are now. The text of an error is logged.
    fn fetch(&self) -> BoxFuture<'_, Result<KeyDocument, String>>;
}

/// Asks a cluster about tokens that its published keys do not decide (the API `TokenReview`).
pub trait TokenReviewer: Send + Sync {
    /// Whether the cluster authenticates the token for one of the audiences.
    fn review<'a>(&'a self, token: &'a str, audiences: &'a [String]) -> BoxFuture<'a, Result<ReviewedToken, ReviewError>>;
}

/// The `status` of a TokenReview that authenticates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReviewedToken {
    /// `status.user.username`: `system:serviceaccount:<namespace>:<name>`.
    pub username: String,
    /// `status.user.extra` of `authentication.kubernetes.io/pod-name` and `…/pod-uid`.
    pub pod: Option<PodReference>,
}

/// Why a review has not authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReviewError {
    /// The cluster says no.
    Refused,
    /// It could not be asked. A retry helps.
    Failed(String),
}

/// Keys in a file, for one istiod without a cluster; read again whenever they are asked for.
pub struct FileKeys(pub PathBuf);

impl KeySource for FileKeys {
    fn fetch(&self) -> BoxFuture<'_, Result<KeyDocument, String>> {
        Box::pin(async {
            let text = tokio::fs::read_to_string(&self.0).await.map_err(|error| format!("{}: {error}", self.0.display()))?;
            Ok(KeyDocument { key_set: text, issuer: None })
        })
    }
}

/// Bounds and names that hold for all clusters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokensSettings {
    /// Tokens must be for one of these (Istio's `TOKEN_AUDIENCES`).
    pub audiences: Vec<String>,
    /// The most tokens that are remembered.
    pub remembered: usize,
    /// Keys are not fetched more often than this because of a token.
    pub refresh_gap: Duration,
    /// Reviews that may be under way at a time.
    pub reviews: usize,
    /// How long a reviewed token is remembered at most.
    pub review_lifetime: Duration,
}

impl Default for TokensSettings {
    fn default() -> Self {
        Self {
            audiences: vec!["istio-ca".to_owned()],
            remembered: 100_000,
            refresh_gap: Duration::from_secs(10),
            reviews: 16,
            review_lifetime: Duration::from_secs(600),
        }
    }
}

/// How a token was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DecidedBy {
    Memory,
    Keys,
    Review,
}

impl DecidedBy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Keys => "keys",
            Self::Review => "review",
        }
    }
}

/// The tokens of one cluster.
struct Cluster {
    source: Arc<dyn KeySource>,
    reviewer: Option<Arc<dyn TokenReviewer>>,
    keys: RwLock<Arc<Keys>>,
    /// When the keys were fetched last; held while they are.
    fetched: Mutex<Option<Instant>>,
}

#[derive(PartialEq, Default)]
struct Keys {
    set: KeySet,
    issuer: Option<String>,
}

/// A good token.
pub(crate) struct Checked {
    /// What it says.
    pub claims: Arc<Claims>,
    /// How it was decided.
    pub by: DecidedBy,
    /// Whose it is; `None` for one of the further issuer.
    pub cluster: Option<ClusterId>,
}

/// An issuer of tokens that is no cluster (Istio's `JWT_RULE`).
struct FurtherIssuer {
    issuer: String,
    audiences: Vec<String>,
    keys: Arc<Cluster>,
}

/// Checks tokens of any number of clusters.
pub struct Tokens {
    own: ClusterId,
    settings: TokensSettings,
    clusters: RwLock<BTreeMap<ClusterId, Arc<Cluster>>>,
    further: Option<FurtherIssuer>,
    remembered: Cache,
    reviews: tokio::sync::Semaphore,
}

impl Tokens {
    /// Without any cluster yet. `own` is meant by callers that name none.
    pub fn new(own: ClusterId, settings: TokensSettings) -> Self {
        let (remembered, reviews) = (Cache::new(settings.remembered), tokio::sync::Semaphore::new(settings.reviews.max(1)));
        Self { own, settings, clusters: RwLock::default(), further: None, remembered, reviews }
    }

    /// Takes tokens of one more issuer, for one of its own audiences, whose keys are in `source`.
    pub fn with_issuer(self, issuer: String, audiences: Vec<String>, source: Arc<dyn KeySource>) -> Self {
        let keys = Arc::new(Cluster { source, reviewer: None, keys: RwLock::default(), fetched: Mutex::default() });
        Self { further: Some(FurtherIssuer { issuer, audiences, keys }), ..self }
    }

    /// Adds or replaces a cluster. Its keys are fetched with the first token, or by [`Tokens::refresh`].
    pub fn set_cluster(&self, cluster: ClusterId, source: Arc<dyn KeySource>, reviewer: Option<Arc<dyn TokenReviewer>>) {
        let entry = Cluster { source, reviewer, keys: RwLock::default(), fetched: Mutex::default() };
        self.clusters.write().unwrap_or_else(PoisonError::into_inner).insert(cluster, Arc::new(entry));
        self.remembered.clear();
    }

    /// Forgets a cluster and everything that its tokens have proved.
    pub fn remove_cluster(&self, cluster: &ClusterId) {
        self.clusters.write().unwrap_or_else(PoisonError::into_inner).remove(cluster);
        self.remembered.clear();
    }

    /// Fetches the keys of all clusters. Keys that are gone are not trusted any more, in remembered tokens neither.
    /// Returns what has failed; the keys of before stay then.
    pub async fn refresh(&self) -> Vec<(ClusterId, String)> {
        let mut clusters = self.clusters.read().unwrap_or_else(PoisonError::into_inner).clone();
        clusters.extend(self.further.as_ref().map(|further| (ClusterId::new(&further.issuer), further.keys.clone())));
        let mut failed = Vec::new();
        for (name, cluster) in clusters {
            if let Err(error) = self.fetch(&cluster, Duration::ZERO).await {
                failed.push((name, error));
            }
        }
        failed
    }

    /// What a token says, if it is good. One that says to be of the further issuer is checked with its keys, whatever cluster
    /// the caller names; all others are of that cluster.
    pub(crate) async fn check(&self, cluster: &str, token: &str, now: SystemTime) -> Result<Checked, Refusal> {
        if let Some(further) = self.further.as_ref().filter(|further| jwt::issuer(token).is_some_and(|issuer| issuer == further.issuer)) {
            let (claims, by) = self.remembered(&further.keys, &[1], &further.audiences, token, now).await?;
            return Ok(Checked { claims, by, cluster: None });
        }
        let name = if cluster.is_empty() { self.own.clone() } else { ClusterId::new(cluster) };
        let entry = self.clusters.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let entry = entry.ok_or_else(|| Refusal::UnknownCluster(cluster.chars().take(80).collect()))?;
        let salt = [name.as_str().as_bytes(), &[0]].concat();
        let (claims, by) = self.remembered(&entry, &salt, &self.settings.audiences, token, now).await?;
        Ok(Checked { claims, by, cluster: Some(name) })
    }

    async fn remembered(
        &self,
        entry: &Cluster,
        salt: &[u8],
        audiences: &[String],
        token: &str,
        now: SystemTime,
    ) -> Result<(Arc<Claims>, DecidedBy), Refusal> {
        let key = digest::sha256(&[salt, token.as_bytes()].concat());
        if let Some(claims) = self.remembered.get(&key, seconds(now)) {
            return Ok((claims, DecidedBy::Memory));
        }
        let (claims, by) = self.decide(entry, audiences, token, seconds(now)).await?;
        let claims = Arc::new(claims);
        self.remembered.insert(key, claims.clone());
        Ok((claims, by))
    }

    async fn decide(&self, cluster: &Cluster, audiences: &[String], token: &str, now: i64) -> Result<(Claims, DecidedBy), Refusal> {
        let mut verdict = Self::by_keys(cluster, audiences, token, now);
        let mut fetched = Ok(());
        if verdict == Err(TokenError::UnknownKey) {
            // The cluster may sign with a new key.
            fetched = self.fetch(cluster, self.settings.refresh_gap).await;
            verdict = Self::by_keys(cluster, audiences, token, now);
        }
        match (verdict, &cluster.reviewer) {
            (Ok(claims), _) => Ok((claims, DecidedBy::Keys)),
            (Err(TokenError::UnknownKey), Some(reviewer)) => Ok((self.by_review(reviewer.as_ref(), token, now).await?, DecidedBy::Review)),
            (Err(TokenError::UnknownKey), None) => Err(match fetched {
                Err(error) if cluster.keys().set.is_empty() => Refusal::NotReady(error),
                _ => TokenError::UnknownKey.into(),
            }),
            (Err(error), _) => Err(error.into()),
        }
    }

    fn by_keys(cluster: &Cluster, audiences: &[String], token: &str, now: i64) -> Result<Claims, TokenError> {
        let keys = cluster.keys();
        let expected = Expected { audiences: audiences.to_vec(), issuer: keys.issuer.clone() };
        jwt::verify(token, &keys.set, &expected, now)
    }

    async fn by_review(&self, reviewer: &dyn TokenReviewer, token: &str, now: i64) -> Result<Claims, Refusal> {
        let _permit = self.reviews.try_acquire().map_err(|_| Refusal::NotReady("too many reviews are under way".to_owned()))?;
        let reviewed = match reviewer.review(token, &self.settings.audiences).await {
            Ok(reviewed) => reviewed,
            Err(ReviewError::Refused) => return Err(TokenError::Reviewed.into()),
            Err(ReviewError::Failed(error)) => return Err(Refusal::NotReady(error)),
        };
        let (namespace, service_account) = jwt::service_account(&reviewed.username).ok_or(TokenError::Subject)?;
        let longest = now.saturating_add(i64::try_from(self.settings.review_lifetime.as_secs()).unwrap_or(i64::MAX));
        let expires = jwt::expiry(token).map_or(longest, |expires| expires.min(longest));
        Ok(Claims { namespace: namespace.to_owned(), service_account: service_account.to_owned(), pod: reviewed.pod, expires })
    }

    /// Fetches the keys, unless that was done less than `gap` ago. Callers that come meanwhile wait for the result.
    async fn fetch(&self, cluster: &Cluster, gap: Duration) -> Result<(), String> {
        let mut fetched = cluster.fetched.lock().await;
        if fetched.is_some_and(|at| at.elapsed() < gap) {
            return Ok(());
        }
        *fetched = Some(Instant::now());
        let KeyDocument { key_set, issuer } = cluster.source.fetch().await?;
        let set = KeySet::parse(&key_set).map_err(|error: KeySetError| format!("the key set {error}"))?;
        let keys = Keys { set, issuer };
        if keys != *cluster.keys() {
            *cluster.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            self.remembered.clear();
        }
        Ok(())
    }
}

impl Cluster {
    fn keys(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
