//! What istiod does to the cluster that it runs in: it writes status, and answers before objects are stored.

use crate::{arguments::Discovery, discovery::Front, identity::Identity, pipeline::Published, status};
use base::ClusterId;
use kube::Client;
use kube_source::{
    leader::{Election, elections},
    status::StatusMetrics,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use webhook::Upkeep;

/// How long the end of the process may wait until the next leader knows.
const GOODBYE: Duration = Duration::from_secs(2);

/// The part of this replica in the election; another one leads at once when it is left in order.
pub struct Office {
    end: oneshot::Sender<()>,
    election: JoinHandle<()>,
}

impl Office {
    /// Hands over.
    pub async fn leave(self) {
        drop(self.end);
        drop(timeout(GOODBYE, self.election).await);
    }
}

/// Takes part in the election, and writes the status of objects while this replica leads.
pub fn write_status(
    arguments: &Discovery,
    client: &Client,
    readable: watch::Receiver<Arc<Published>>,
    front: Arc<Front>,
    registry: &prometheus::Registry,
) -> Result<Office, prometheus::Error> {
    let own = &arguments.identity;
    // Unique for every start: a container that was restarted in its Pod is another candidate.
    let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "istiod".to_owned());
    let identity = format!("{name}_{}", std::process::id());
    let election = Election::new(client.clone(), &own.namespace, elections::STATUS, &own.revision, &identity);
    let (leads_out, leads) = watch::channel(false);
    let (end, ending) = oneshot::channel::<()>();
    let election = tokio::spawn(election.run(leads_out, async {
        drop(ending.await);
    }));
    let desired = status::follow(readable, front, ClusterId::new(&arguments.cluster_id), leads.clone());
    tokio::spawn(kube_source::status::run(client.clone(), desired, leads, StatusMetrics::new(registry)?));
    Ok(Office { end, election })
}

/// Answers on the port of the webhooks until `ended`, and keeps the configuration up by which the API server asks.
pub fn admit(
    arguments: &Discovery,
    client: Option<&Client>,
    listener: TcpListener,
    identity: &Identity,
    registry: &prometheus::Registry,
) -> Result<(), prometheus::Error> {
    let metrics = webhook::Metrics::new(registry)?;
    tokio::spawn(webhook::serve(listener, identity.configs.webhook.clone(), webhook::router(metrics.clone()), std::future::pending()));
    let Some(client) = client else { return Ok(()) };
    if arguments.identity.own_certificate().is_some() {
        tracing::info!("the certificate is the operator's own, and so is the CA bundle of the webhook");
        return Ok(());
    }
    let own = &arguments.identity;
    let revision = if own.revision.is_empty() { "default" } else { &own.revision };
    let mut signers = identity.authority.follow();
    let (bundle, ca_bundle) = watch::channel(Arc::from(signers.borrow_and_update().bundle.pem.as_str()));
    tokio::spawn(async move {
        while signers.changed().await.is_ok() {
            let pem = signers.borrow_and_update().bundle.pem.clone();
            bundle.send_replace(Arc::from(pem.as_str()));
        }
    });
    let (namespace, revision, policy) = (own.namespace.clone(), revision.to_owned(), arguments.validation_failure_policy);
    tokio::spawn(Upkeep { client: client.clone(), namespace, revision, policy, ca_bundle, metrics }.run());
    Ok(())
}
