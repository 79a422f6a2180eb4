//! The addresses of the gateway, written to the status of every Ingress that it serves.
//!
//! The field belongs to whoever serves the Ingress, and that is said by its class; so it is taken from whoever wrote it
//! before. It is written when what is wanted has changed, not when others change it.

use super::StatusMetrics;
use istio_api::Kind;
use k8s_openapi::api::networking::v1::Ingress;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;

/// The field manager of our writes.
const MANAGER: &str = "istiod-ingress";
/// Between two rounds; a storm of changes costs one.
const PAUSE: Duration = Duration::from_secs(1);
/// After failures, doubled each time.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Ingresses of one page.
const PAGE: u32 = 500;

/// Where a gateway is reached.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LoadBalancerAddress {
    /// By a name.
    Hostname(String),
    /// By an IP address.
    Ip(String),
}

impl LoadBalancerAddress {
    /// An IP address as such, anything else as a name.
    pub fn new(text: &str) -> Self {
        match text.parse::<std::net::IpAddr>() {
            Ok(_) => Self::Ip(text.to_owned()),
            Err(_) => Self::Hostname(text.to_owned()),
        }
    }
}

/// What all Ingresses are to say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DesiredIngresses {
    /// By namespace and name, with the time of their creation: one that was made anew says nothing yet.
    pub ingresses: BTreeMap<(String, String), Option<String>>,
    /// Sorted, each once.
    pub addresses: Vec<LoadBalancerAddress>,
}

/// Writes what is wanted whenever `leads`, until nobody says any more what is wanted; `None` means that it is not known yet.
pub async fn run(
    client: Client,
    mut desired: watch::Receiver<Option<Arc<DesiredIngresses>>>,
    mut leads: watch::Receiver<bool>,
    metrics: StatusMetrics,
) {
    loop {
        while !*leads.borrow_and_update() {
            if leads.changed().await.is_err() {
                return;
            }
        }
        tokio::select! {
            // What is under way ends with it: another one may lead.
            _ = leads.wait_for(|leads| !leads) => {}
            () = lead(&client, &mut desired, &metrics) => return,
        }
    }
}

/// Returns when nobody says any more what is wanted.
async fn lead(client: &Client, desired: &mut watch::Receiver<Option<Arc<DesiredIngresses>>>, metrics: &StatusMetrics) {
    desired.mark_changed();
    let mut failures = 0;
    loop {
        if failures == 0 && desired.changed().await.is_err() {
            return;
        }
        let wanted = desired.borrow_and_update().clone();
        match write(client, wanted.as_deref(), metrics).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::warn!("the status of Ingresses cannot be written: {error}");
            }
        }
        tokio::time::sleep(PAUSE.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE)).await;
    }
}

/// Reads all Ingresses, and writes to those that say something else.
async fn write(client: &Client, wanted: Option<&DesiredIngresses>, metrics: &StatusMetrics) -> Result<(), kube::Error> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.ingresses.is_empty()) else { return Ok(()) };
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = Api::<Ingress>::all(client.clone()).list(&parameters).await?;
        for ingress in &page.items {
            let metadata = &ingress.metadata;
            let (namespace, name) = (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
            let key = (namespace, name);
            if wanted.ingresses.contains_key(&key) && addresses(ingress) != wanted.addresses {
                apply(client, &key, &wanted.addresses, metrics).await?;
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(()),
        }
    }
}

/// What an Ingress says.
fn addresses(ingress: &Ingress) -> Vec<LoadBalancerAddress> {
    let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let stored = status.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let address = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
    let mut found: Vec<LoadBalancerAddress> = stored
        .filter_map(|entry| {
            address(&entry.hostname).map(LoadBalancerAddress::Hostname).or_else(|| address(&entry.ip).map(LoadBalancerAddress::Ip))
        })
        .collect();
    found.sort();
    found
}

async fn apply(
    client: &Client,
    (namespace, name): &(String, String),
    addresses: &[LoadBalancerAddress],
    metrics: &StatusMetrics,
) -> Result<(), kube::Error> {
    let entry = |address: &LoadBalancerAddress| match address {
        LoadBalancerAddress::Hostname(hostname) => json!({ "hostname": hostname }),
        LoadBalancerAddress::Ip(ip) => json!({ "ip": ip }),
    };
    let status = json!({ "loadBalancer": { "ingress": addresses.iter().map(entry).collect::<Vec<_>>() } });
    let kind = Kind::Ingress;
    let body = json!({ "apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": { "name": name }, "status": status });
    let api = Api::<Ingress>::namespaced(client.clone(), namespace);
    match api.patch_status(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&body)).await {
        Ok(_) => metrics.wrote("written"),
        // It has been deleted meanwhile.
        Err(kube::Error::Api(status)) if status.code == 404 => metrics.wrote("gone"),
        Err(error) => {
            metrics.wrote("failed");
            return Err(error);
        }
    }
    Ok(())
}
