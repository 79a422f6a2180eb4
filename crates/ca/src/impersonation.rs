//! Node proxies (as ztunnel): they ask for certificates of the workloads of their node, not for their own.

use crate::{
    authenticate::{Caller, Credential, PodReference},
    settings::TrustDomains,
};
use base::{ClusterId, SpiffeIdentity};
use std::{collections::BTreeSet, sync::Arc};

/// A service account, by namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceAccount {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// What is known of pods and where they run.
pub trait NodeWorkloads: Send + Sync {
    /// The node of a pod, if that pod exists, is the same one (by its UID), and runs as this service account.
    fn node_of(&self, cluster: &ClusterId, pod: &PodReference, account: &ServiceAccount) -> Option<Arc<str>>;

    /// Whether a pod runs on the node as this service account.
    fn runs(&self, cluster: &ClusterId, node: &str, account: &ServiceAccount) -> bool;
}

/// Who may ask for others (Istio's `CA_TRUSTED_NODE_ACCOUNTS`), and what they are checked against.
#[derive(Clone)]
pub struct NodeAccounts {
    /// The accounts of node proxies.
    pub trusted: BTreeSet<ServiceAccount>,
    /// Where pods run.
    pub workloads: Arc<dyn NodeWorkloads>,
}

/// Why a caller does not get the certificate of another. Logged; the caller is only told that it is refused, as in Istio.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ImpersonationError {
    /// No account is trusted at all.
    #[error("no account may ask for certificates of others (CA_TRUSTED_NODE_ACCOUNTS)")]
    NobodyTrusted,
    /// This one is not.
    #[error("{0} may not ask for certificates of others (CA_TRUSTED_NODE_ACCOUNTS)")]
    NotTrusted(SpiffeIdentity),
    /// Only a token is bound to a pod, and by it to a node.
    #[error("the caller has not shown a token that is bound to a pod")]
    NoPod,
    /// What is asked for is no identity of this mesh.
    #[error("{0:?} is no identity of this mesh")]
    Identity(String),
    /// The pod of the token is gone, or another one has its name now.
    #[error("the caller's pod {0} is not known")]
    UnknownPod(String),
    /// Nothing runs there as what is asked for.
    #[error("no pod of {identity} runs on the caller's node {node}")]
    NotThere {
        /// What is asked for.
        identity: SpiffeIdentity,
        /// The node.
        node: Arc<str>,
    },
}

impl NodeAccounts {
    /// The identity that the certificate is for, in the trust domain that the mesh has now.
    ///
    /// # Errors
    /// See [`ImpersonationError`].
    pub fn check(&self, caller: &Caller, wanted: &str, domains: &TrustDomains) -> Result<SpiffeIdentity, ImpersonationError> {
        let account = account(&caller.identity);
        if !self.trusted.contains(&account) {
            return Err(ImpersonationError::NotTrusted(caller.identity.clone()));
        }
        let (Credential::Token, Some(pod), Some(cluster)) = (caller.credential, &caller.pod, &caller.cluster) else {
            return Err(ImpersonationError::NoPod);
        };
        let identity = SpiffeIdentity::parse(wanted)
            .filter(|identity| domains.accepts(&identity.trust_domain))
            .ok_or_else(|| ImpersonationError::Identity(wanted.chars().take(200).collect()))?;
        let unknown = || ImpersonationError::UnknownPod(format!("{}/{}", account.namespace, pod.name));
        let node = self.workloads.node_of(cluster, pod, &account).ok_or_else(unknown)?;
        let identity = SpiffeIdentity { trust_domain: domains.own.clone(), ..identity };
        match self.workloads.runs(cluster, &node, &self::account(&identity)) {
            true => Ok(identity),
            false => Err(ImpersonationError::NotThere { identity, node }),
        }
    }
}

fn account(identity: &SpiffeIdentity) -> ServiceAccount {
    ServiceAccount { namespace: identity.namespace.clone(), name: identity.service_account.clone() }
}
