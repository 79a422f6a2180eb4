//! The pipeline as the xDS server sees it.

use crate::{identity::SecretReviews, pipeline::ProxyEvent};
use ads::{ConnectError, Discovery, Peer, Rejection, SecretAccess, Subscription};
use base::SpiffeIdentity;
use model::ProxyTraits;
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot, watch};
use xds::ProxyId;
use xds_api::envoy::config::core::v3::Node;
use xds_wire::{ResourceName, ResourceType, Version};

/// What proxies have refused and not accepted since, by proxy and type; secrets, which are refused one by one, also by name.
pub type Rejections = BTreeMap<(Arc<str>, ResourceType, Option<ResourceName>), Rejection>;

/// The sending end of the pipeline, and the memory of refusals.
pub struct Front {
    proxies: mpsc::UnboundedSender<ProxyEvent>,
    next: AtomicU64,
    rejections: Mutex<Rejections>,
    /// Told whenever a refusal comes or goes.
    rejections_changed: watch::Sender<()>,
    /// A proxy may only be what its certificate or token says.
    check_identities: bool,
    /// Who may have Secrets, where there is an API server that says so.
    reviews: Option<SecretReviews>,
}

impl Front {
    /// The front of the pipeline that reads `proxies`. With `check_identities` an authenticated proxy may only be of its
    /// own namespace and service account.
    pub fn new(proxies: mpsc::UnboundedSender<ProxyEvent>, check_identities: bool) -> Self {
        Self {
            proxies,
            next: AtomicU64::new(0),
            rejections: Mutex::default(),
            rejections_changed: watch::Sender::new(()),
            check_identities,
            reviews: None,
        }
    }

    /// Proxies get credentials only if their service account may list Secrets of their namespace.
    pub fn with_secret_reviews(self, reviews: Option<SecretReviews>) -> Self {
        Self { reviews, ..self }
    }

    /// Which Secrets a proxy may have. Nobody can prove anything over plain text, where others decide.
    async fn secrets(&self, peer: &Peer, traits: &ProxyTraits) -> SecretAccess {
        match (&self.reviews, &peer.identity) {
            (Some(reviews), Some(identity)) if reviews.concern(traits) => reviews.access(identity).await,
            _ => SecretAccess::All,
        }
    }

    /// What proxies refuse at present.
    pub fn rejections(&self) -> Rejections {
        self.lock().clone()
    }

    /// Changes whenever [`Front::rejections`] does.
    pub fn follow_rejections(&self) -> watch::Receiver<()> {
        self.rejections_changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Rejections> {
        self.rejections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the pipeline when the connection is gone.
struct Guard {
    id: ProxyId,
    proxies: mpsc::UnboundedSender<ProxyEvent>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The pipeline outlives its connections except when the process ends.
        drop(self.proxies.send(ProxyEvent::Disconnected(self.id)));
    }
}

/// Namespace and service account of the node must be those that were proved. A node that does not state its service
/// account claims none, as in Istio.
fn authorize(identity: &SpiffeIdentity, traits: &ProxyTraits) -> Result<(), ConnectError> {
    let namespace = traits.namespace.as_str() == identity.namespace;
    let service_account = traits.service_account.is_empty() || *traits.service_account == *identity.service_account;
    if namespace && service_account {
        return Ok(());
    }
    let claimed = format!("{}/{}", traits.namespace.as_str(), traits.service_account);
    Err(ConnectError::NotAuthorized(format!("the proxy claims to be of {claimed:.200}, and has proved to be {identity}")))
}

impl Discovery for Front {
    fn connect(&self, node: Node, peer: Peer) -> Pin<Box<dyn Future<Output = Result<Subscription, ConnectError>> + Send + '_>> {
        Box::pin(async move {
            let traits = xds::parse_node(&node).map_err(|error| ConnectError::InvalidNode(error.0))?;
            if let (Some(identity), true) = (&peer.identity, self.check_identities) {
                authorize(identity, &traits).inspect_err(|error| {
                    tracing::warn!(peer = %peer.address, proxy = %traits.id, "a proxy was refused: {error}");
                })?;
            }
            let secrets = self.secrets(&peer, &traits).await;
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let (reply, view) = oneshot::channel();
            let guard = Guard { id, proxies: self.proxies.clone() };
            let gone = || ConnectError::NotReady("the control plane is going down".to_string());
            self.proxies.send(ProxyEvent::Connected { id, traits: Box::new(traits), reply }).map_err(|_| gone())?;
            let view = view.await.map_err(|_| gone())?;
            Ok(Subscription { view, guard: Box::new(guard), secrets })
        })
    }

    fn rejected(&self, rejection: Rejection) {
        let objects: Vec<String> = rejection.origins.iter().map(ToString::to_string).collect();
        tracing::warn!(proxy = %rejection.proxy, kind = %rejection.kind, objects = ?objects, "refused: {}", rejection.message);
        // Of a response without a culprit, all may be innocent but one.
        let certain = |(name, _): &&(ResourceName, Version)| rejection.resources.len() == 1 || rejection.message.contains(&**name);
        let guilty: Vec<_> = rejection.resources.iter().filter(certain).cloned().collect();
        if !guilty.is_empty() {
            // The pipeline outlives its connections except when the process ends.
            drop(self.proxies.send(ProxyEvent::Refused(rejection.proxy.clone(), rejection.kind, guilty)));
        }
        let one = rejection.resources.first().filter(|_| rejection.kind == ResourceType::Secret);
        let key = (rejection.proxy.clone(), rejection.kind, one.map(|(name, _)| name.clone()));
        self.lock().insert(key, rejection);
        self.rejections_changed.send_replace(());
    }

    fn accepted(&self, kind: ResourceType, version: Version) {
        drop(self.proxies.send(ProxyEvent::Accepted(kind, version)));
    }

    fn recovered(&self, proxy: &str, kind: ResourceType) {
        let mut rejections = self.lock();
        let before = rejections.len();
        rejections.retain(|(of, refused, _), _| **of != *proxy || *refused != kind);
        if rejections.len() != before {
            self.rejections_changed.send_replace(());
        }
    }
}
