//! The CA as a part of the process: what it starts with, what it follows, and the port that it is reached by.

mod arguments;
mod follow;
mod secured;
mod token;

pub use arguments::IdentityArguments;
pub use secured::serve as serve_secured;
pub use token::{TokenArguments, print_token};

use crate::{arguments::Discovery, pipeline::Published};
use anyhow::Context;
use base::ClusterId;
use ca::{
    Authority, BundleWriter, CertificateService, FileRootStore, Holders, KeyMaterial, Metrics, Peers, PluggedIn, RootStore, ServerConfigs, Serving,
    Settings, Signer,
    authenticate::{Authenticator, FileKeys, Tokens, TokensSettings},
};
use std::{sync::Arc, time::SystemTime};
use tokio::sync::watch;

/// Everything that answers on the secured port.
#[derive(Clone)]
pub struct Identity {
    /// Decides who calls.
    pub authenticator: Arc<Authenticator>,
    /// Issues certificates; `None` if that is turned off.
    pub service: Option<Arc<CertificateService>>,
    /// What one peer may take.
    pub peers: Peers,
    /// TLS of the secured port and of the webhooks.
    pub configs: ServerConfigs,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether streams must be authenticated.
    pub authenticate_streams: bool,
}

/// Where things are kept: in files, or in a cluster.
pub struct Places {
    /// The self-signed root; `None` keeps it in memory.
    pub store: Option<Arc<dyn RootStore>>,
    /// Copies of the roots for workloads.
    pub bundles: Option<Arc<dyn BundleWriter>>,
}

impl Places {
    /// Files of the folder that the flags name.
    pub fn files(arguments: &IdentityArguments) -> Self {
        let folder = arguments.ca_store.clone().map(|folder| Arc::new(FileRootStore::new(folder)));
        Self {
            store: folder.clone().map(|folder| folder as Arc<dyn RootStore>),
            bundles: folder.map(|folder| folder as Arc<dyn BundleWriter>),
        }
    }
}

/// Starts the CA, and everything that it follows.
pub async fn start(
    arguments: &Discovery,
    places: Places,
    registry: &prometheus::Registry,
    readable: watch::Receiver<Arc<Published>>,
) -> anyhow::Result<Identity> {
    let own = &arguments.identity;
    let settings = own.settings()?;
    let metrics = Metrics::new(registry)?;
    let plugged_in = PluggedIn::new(own.root_ca_dir.clone());
    let material = match plugged_in.load()? {
        Some(material) => material,
        None => self_signed(places.store.as_deref(), &settings, &arguments.domain).await?,
    };
    let signer = Signer::new(&material, SystemTime::now()).context("the CA cannot be used")?;
    let authority = Arc::new(Authority::new(signer, settings));
    let tokens = Tokens::new(ClusterId::new(&arguments.cluster_id), TokensSettings { audiences: own.token_audiences.clone(), ..TokensSettings::default() });
    if let Some(path) = &own.token_keys {
        tokens.set_cluster(ClusterId::new(&arguments.cluster_id), Arc::new(FileKeys(path.clone())), None);
    }
    let authenticator = Arc::new(Authenticator::new(authority.clone(), tokens, metrics.clone()));
    let serving = Serving::new(authority.clone(), own.serving(), own.own_certificate()?)?;
    let peers = Peers::new(own.limits());
    let holders = Arc::new(Holders::default());
    let service = CertificateService::new(authority.clone(), authenticator.clone(), peers.clone(), metrics.clone(), holders);
    let identity = Identity {
        authenticator: authenticator.clone(),
        service: own.enable_ca_server.then(|| Arc::new(service)),
        peers,
        configs: serving.configs(),
        metrics: metrics.clone(),
        authenticate_streams: own.xds_auth,
    };
    tokio::spawn(serving.run());
    tokio::spawn(follow::trust_domains(authority.clone(), readable));
    tokio::spawn(follow::token_keys(authenticator));
    tokio::spawn(follow::plugged_in(authority.clone(), plugged_in));
    tokio::spawn(follow::bundles(authority.clone(), places.bundles));
    tokio::spawn(follow::expiry(authority, metrics));
    Ok(identity)
}

async fn self_signed(store: Option<&dyn RootStore>, settings: &Settings, trust_domain: &str) -> anyhow::Result<KeyMaterial> {
    let make = || ca::generate(trust_domain, settings.root_key, settings.root_ttl, SystemTime::now());
    match store {
        Some(store) => Ok(ca::load_or_generate(store, make).await?.data.material()),
        None => {
            tracing::warn!("the root is kept in memory and ends with the process; name a folder with --caStore to keep it");
            Ok(make()?)
        }
    }
}
