//! Whether a service account may read the Secrets of its namespace (the API `SubjectAccessReview`, as in Istio): istiod may read
//! them all, and must not be a way around what the cluster says.

use crate::pipeline::Published;
use ads::SecretAccess;
use base::{ClusterId, SpiffeIdentity};
use config::Key;
use incremental::Cx;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use model::{ProxyKind, ProxyTraits};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// How long an answer holds.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long the API server may take; an older answer holds then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks one cluster, and remembers what it says.
pub struct SecretReviews {
    api: Api<SubjectAccessReview>,
    readable: watch::Receiver<Arc<Published>>,
    /// By namespace and service account.
    known: Mutex<HashMap<(String, String), (bool, Instant)>>,
}

impl SecretReviews {
    /// Those of a cluster.
    pub fn new(client: Client, readable: watch::Receiver<Arc<Published>>) -> Self {
        Self { api: Api::all(client), readable, known: Mutex::default() }
    }

    /// Whether a proxy has to be asked about: gateways always, others where there are credentials at all.
    pub fn concern(&self, traits: &ProxyTraits) -> bool {
        if traits.kind == ProxyKind::Router {
            return true;
        }
        let published = self.readable.borrow();
        let start = Key { namespace: traits.namespace.clone(), name: Arc::from(""), cluster: ClusterId::default() };
        let first = published.snapshot.credentials.range(&mut Cx::default(), start..).next();
        first.is_some_and(|(key, _)| key.namespace == traits.namespace)
    }

    /// Which Secrets the account may have. What the API server cannot say is denied, unless it has said it before.
    pub async fn access(&self, identity: &SpiffeIdentity) -> SecretAccess {
        let account = (identity.namespace.clone(), identity.service_account.clone());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&account).copied();
        let allowed = match known {
            Some((allowed, at)) if at.elapsed() < REMEMBERED => allowed,
            _ => match timeout(PATIENCE, self.ask(identity)).await.unwrap_or_else(|_| Err("no answer".to_owned())) {
                Ok(allowed) => {
                    self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(account, (allowed, Instant::now()));
                    allowed
                }
                Err(error) => {
                    tracing::warn!("whether {identity} may read Secrets cannot be asked: {error}");
                    known.is_some_and(|(allowed, _)| allowed)
                }
            },
        };
        match allowed {
            true => SecretAccess::All,
            false => {
                tracing::debug!("{identity} gets no Secrets: its service account may not list them");
                SecretAccess::Granted
            }
        }
    }

    async fn ask(&self, identity: &SpiffeIdentity) -> Result<bool, String> {
        let SpiffeIdentity { namespace, service_account, .. } = identity;
        let attributes = ResourceAttributes {
            namespace: Some(namespace.clone()),
            resource: Some("secrets".to_owned()),
            verb: Some("list".to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{service_account}")),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let answer = self.api.create(&PostParams::default(), &review).await.map_err(|error| error.to_string())?;
        Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}
