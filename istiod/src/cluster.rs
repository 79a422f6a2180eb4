//! What istiod does to the cluster that it runs in: it writes status, and answers before objects are stored.

use crate::{
    arguments::Discovery,
    discovery::Front,
    ending::Ending,
    identity::{Identity, replica},
    ingress,
    pipeline::Published,
    status,
};
use base::ClusterId;
use kube::Client;
use kube_source::{
    leader::{Election, elections},
    status::{Leadership, StatusMetrics},
};
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet};
use webhook::Upkeep;

/// The cluster that this process is a part of, and for how long.
pub struct Here<'a> {
    /// The flags.
    pub arguments: &'a Discovery,
    /// The API server.
    pub client: &'a Client,
    /// Where metrics go.
    pub registry: &'a prometheus::Registry,
    /// Leases are released as soon as it begins, so that others lead while this process drains.
    pub ending: &'a Ending,
}

impl Here<'_> {
    /// Takes part in the elections, and writes the status of objects while this replica leads. `tasks` end once all leases
    /// are released.
    pub fn write_status(
        &self,
        readable: watch::Receiver<Arc<Published>>,
        front: Arc<Front>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), prometheus::Error> {
        let cluster = || ClusterId::new(&self.arguments.cluster_id);
        let metrics = StatusMetrics::new(self.registry)?;
        let all = self.stand_for(Election::of_all_revisions, elections::STATUS, watch::channel(true).1, tasks);
        let own = self.stand_for(Election::of_revision, elections::STATUS, status::follow_own(readable.clone(), cluster()), tasks);
        let leadership = Leadership::follow(all, own);
        let desired = status::follow(readable.clone(), front, cluster(), leadership.clone());
        let revision = Arc::from(self.arguments.identity.revision());
        tokio::spawn(kube_source::status::run(self.client.clone(), revision, desired, leadership, metrics.clone()));

        let (desired, any) = ingress::follow(readable, cluster());
        let leads = self.stand_for(Election::of_all_revisions, elections::INGRESS, any, tasks);
        tokio::spawn(kube_source::status::run_ingresses(self.client.clone(), desired, leads, metrics));
        Ok(())
    }

    /// Takes part in an election while `wanted`; says whether we lead.
    fn stand_for(
        &self,
        election: impl Fn(Client, &str, &str, &str, &str) -> Election + Send + 'static,
        name: &'static str,
        mut wanted: watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) -> watch::Receiver<bool> {
        // Unique for every start: a container that was restarted in its Pod is another candidate.
        let identity = format!("{}_{}", replica(), std::process::id());
        let (namespace, revision) = (self.arguments.identity.namespace.clone(), self.arguments.identity.revision().to_owned());
        let (client, ending) = (self.client.clone(), self.ending.clone());
        let (leads_out, leads) = watch::channel(false);
        tasks.spawn(async move {
            while !ending.has_begun() {
                tokio::select! {
                    // Whoever has said it last has said it for good.
                    found = wanted.wait_for(|wanted| *wanted) => if found.is_err() { return },
                    () = ending.clone().draining() => return,
                }
                let over = async {
                    tokio::select! {
                        Ok(_) = wanted.wait_for(|wanted| !wanted) => {}
                        () = ending.clone().draining() => {}
                    }
                };
                election(client.clone(), &namespace, name, &revision, &identity).run(&leads_out, over).await;
            }
        });
        leads
    }
}

/// Keeps the configuration up by which the API server asks the webhook.
pub fn be_asked(arguments: &Discovery, client: &Client, identity: &Identity, metrics: webhook::Metrics) {
    if arguments.identity.own_certificate().is_some() {
        tracing::info!("the certificate is the operator's own, and so is the CA bundle of the webhook");
        return;
    }
    let own = &arguments.identity;
    let mut signers = identity.authority.follow();
    let (bundle, ca_bundle) = watch::channel(Arc::from(signers.borrow_and_update().bundle.pem.as_str()));
    tokio::spawn(async move {
        while signers.changed().await.is_ok() {
            let pem = signers.borrow_and_update().bundle.pem.clone();
            bundle.send_replace(Arc::from(pem.as_str()));
        }
    });
    let (namespace, revision, policy) = (own.namespace.clone(), own.revision().to_owned(), arguments.validation_failure_policy);
    tokio::spawn(Upkeep { client: client.clone(), namespace, revision, policy, ca_bundle, metrics }.run());
}
