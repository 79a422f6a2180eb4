//! Where pods run, for node proxies that ask for certificates of others.

use crate::pipeline::Published;
use base::{ClusterId, Namespace};
use ca::{NodeWorkloads, ServiceAccount, authenticate::PodReference};
use config::Key;
use incremental::Cx;
use istio_api::{Object, kubernetes::pod::Pod};
use std::sync::Arc;
use tokio::sync::watch;

/// The pods of the newest cut.
pub struct PublishedPods(pub watch::Receiver<Arc<Published>>);

impl NodeWorkloads for PublishedPods {
    fn node_of(&self, cluster: &ClusterId, pod: &PodReference, account: &ServiceAccount) -> Option<Arc<str>> {
        let published = self.0.borrow().clone();
        let key = Key { namespace: Namespace::new(&account.namespace), name: Arc::from(pod.name.as_str()), cluster: cluster.clone() };
        let found = published.store.pods.get(&mut Cx::default(), &key)?;
        let same = *found.metadata.uid == *pod.uid && service_account(found) == account.name && !found.spec.node_name.is_empty();
        same.then(|| Arc::from(found.spec.node_name.as_str()))
    }

    fn runs(&self, cluster: &ClusterId, node: &str, account: &ServiceAccount) -> bool {
        let published = self.0.borrow().clone();
        let namespace = Namespace::new(&account.namespace);
        let start = Key { namespace: namespace.clone(), name: Arc::from(""), cluster: ClusterId::default() };
        let pods = published.store.pods.range(&mut Cx::default(), start..).take_while(|(key, _)| key.namespace == namespace);
        let here = |pod: &Object<Pod>| pod.spec.node_name == node && service_account(pod) == account.name && !pod.status.has_ended();
        pods.into_iter().any(|(key, pod)| key.cluster == *cluster && here(pod))
    }
}

fn service_account(pod: &Object<Pod>) -> &str {
    match pod.spec.service_account_name.as_str() {
        "" => "default",
        name => name,
    }
}
