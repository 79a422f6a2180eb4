//! The CA as a part of the process: what it starts with, what it follows, and the port that it is reached by.

mod arguments;
mod follow;
mod issuer_keys;
mod kubernetes;
mod kubernetes_signer;
mod node_workloads;
mod roots;
mod rotate;
mod secret_reviews;
mod secured;
mod token;
mod token_issuer;

pub use arguments::IdentityArguments;
pub use issuer_keys::key_store;
pub use rotate::RotationHandle;
pub use secret_reviews::SecretReviews;
pub use secured::{serve as serve_secured, serve_plaintext};
pub use token::{TokenArguments, print_token};

use crate::{
    arguments::Discovery,
    pipeline::{Published, Trust},
};
use ads::Connections;
use anyhow::Context;
use arguments::ExternalCa;
use base::ClusterId;
use ca::{
    Authority, BundleWriter, CertificateService, ExternalSigner, FileRootStore, Holders, KeyMaterial, Metrics, NodeAccounts, Peers,
    PluggedIn, RootStore, RotationSettings, ServerConfigs, ServiceAccount, Serving, Settings, Signer,
    authenticate::{Authenticator, FileKeys, Tokens, TokensSettings},
};
use kubernetes::{ApiServerTokens, ConfigMaps, SecretStore};
use kubernetes_signer::{KubernetesSigner, SignerNames};
use node_workloads::PublishedPods;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};
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
    /// Whose roots clients of ours must trust.
    pub authority: Arc<Authority>,
    /// TLS of the secured port and of the webhooks.
    pub configs: ServerConfigs,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether streams must be authenticated.
    pub authenticate_streams: bool,
    /// Where a rotation stands.
    pub rotation: RotationHandle,
    /// What the pipeline serves of it.
    pub trust: watch::Receiver<Arc<Trust>>,
}

/// Where things are kept: in files, or in a cluster.
pub struct Places {
    /// The self-signed root; `None` keeps it in memory.
    pub store: Option<Arc<dyn RootStore>>,
    /// Copies of the roots for workloads.
    pub bundles: Option<Arc<dyn BundleWriter>>,
    /// The cluster whose tokens are taken.
    pub tokens: Option<Arc<ApiServerTokens>>,
}

impl Places {
    /// Files of the folder that the flags name.
    pub fn files(arguments: &IdentityArguments) -> Self {
        let folder = arguments.ca_store.clone().map(|folder| Arc::new(FileRootStore::new(folder)));
        Self {
            store: folder.clone().map(|folder| folder as Arc<dyn RootStore>),
            bundles: folder.map(|folder| folder as Arc<dyn BundleWriter>),
            tokens: None,
        }
    }

    /// A Secret and ConfigMaps of a cluster, whose tokens are taken. A folder that the flags name has precedence, for a
    /// control plane under development beside the cluster.
    pub fn cluster(arguments: &IdentityArguments, client: &kube::Client) -> Self {
        let files = Self::files(arguments);
        let secret = || Arc::new(SecretStore::new(client.clone(), &arguments.namespace)) as Arc<dyn RootStore>;
        Self {
            store: files.store.or_else(|| Some(secret())),
            bundles: Some(Arc::new(ConfigMaps::new(client.clone()))),
            tokens: Some(Arc::new(ApiServerTokens::new(client.clone()))),
        }
    }
}

/// Starts the CA, and everything that it follows.
pub async fn start(
    arguments: &Discovery,
    places: Places,
    registry: &prometheus::Registry,
    readable: watch::Receiver<Arc<Published>>,
    connections: Connections,
) -> anyhow::Result<Identity> {
    let own = &arguments.identity;
    let settings = own.settings()?;
    let metrics = Metrics::new(registry)?;
    let plugged_in = PluggedIn::new(own.root_ca_dir.clone());
    let material = match plugged_in.load()? {
        Some(material) => material,
        None => self_signed(places.store.as_deref(), &settings, &arguments.domain).await?,
    };
    // A rotation that is under way, or the root that was used last, has precedence: what differs from it is led to.
    let stored = match &places.store {
        Some(store) => store.load().await?.and_then(|stored| ca::resume(&stored.data)),
        None => None,
    };
    let signer = Signer::new(stored.as_ref().unwrap_or(&material), SystemTime::now()).context("the CA cannot be used")?;
    let authority = Arc::new(Authority::new(signer, settings));
    let tokens = Tokens::new(
        ClusterId::new(&arguments.cluster_id),
        TokensSettings { audiences: own.token_audiences.clone(), ..TokensSettings::default() },
    );
    let tokens = match own.jwt_rule.clone() {
        Some(rule) => token_issuer::add(tokens, rule),
        None => tokens,
    };
    let (cluster, replicas) = (ClusterId::new(&arguments.cluster_id), places.tokens.is_some());
    let signer = external_signer(own, places.tokens.as_deref(), &readable)?;
    match (&own.token_keys, places.tokens) {
        // Folders beside a cluster, or in the place of one, have no keys of their own.
        (Some(path), _) => {
            for cluster in std::iter::once(cluster).chain(crate::sources::remote_clusters(arguments)?) {
                tokens.set_cluster(cluster, Arc::new(FileKeys(path.clone())), None);
            }
        }
        (None, Some(server)) => tokens.set_cluster(cluster, server.clone(), Some(server)),
        (None, None) => {}
    }
    let authenticator = Authenticator::new(authority.clone(), tokens, metrics.clone());
    let authenticator = Arc::new(authenticator.with_trusted_gateways(own.trusted_gateway_cidr.clone()));
    let client_roots = roots::of_clients(own.ca_cert_file.clone(), signer.is_some(), readable.clone());
    let serving = Serving::with_client_roots(authority.clone(), own.serving(), own.own_certificate(), client_roots)?;
    let peers = Peers::new(own.limits());
    let holders = Arc::new(Holders::default());
    let service = CertificateService::new(authority.clone(), authenticator.clone(), peers.clone(), metrics.clone(), holders.clone());
    let trusted: BTreeSet<ServiceAccount> = own.trusted_node_accounts.iter().cloned().collect();
    let service = match trusted.is_empty() {
        true => service,
        false => service.with_node_accounts(NodeAccounts { trusted, workloads: Arc::new(PublishedPods(readable.clone())) }),
    };
    let service = match signer {
        Some(signer) => service.with_external_signer(signer),
        None => service,
    };
    let (trust, trust_in) = watch::channel(rotate::first_trust(&authority));
    let rotation = rotate::Driver {
        authority: authority.clone(),
        settings: rotation_settings(replicas),
        store: places.store,
        material,
        plugged_in,
        holders,
        connections,
        readable: readable.clone(),
        trust,
        metrics: metrics.clone(),
    };
    let identity = Identity {
        authenticator: authenticator.clone(),
        service: own.enable_ca_server.then(|| Arc::new(service)),
        peers,
        authority: authority.clone(),
        configs: serving.configs(),
        metrics: metrics.clone(),
        authenticate_streams: own.xds_auth,
        rotation: rotation.start(),
        trust: trust_in,
    };
    tokio::spawn(serving.run());
    let namespaces = readable;
    tokio::spawn(follow::token_keys(authenticator, own.token_keys.is_some()));
    tokio::spawn(follow::bundles(authority.clone(), places.bundles, namespaces));
    tokio::spawn(follow::expiry(authority, metrics));
    Ok(identity)
}

/// Who signs in the place of our CA, if anybody.
fn external_signer(
    own: &IdentityArguments,
    server: Option<&ApiServerTokens>,
    readable: &watch::Receiver<Arc<Published>>,
) -> anyhow::Result<Option<Arc<dyn ExternalSigner>>> {
    if own.external_ca != Some(ExternalCa::Kubernetes) {
        return Ok(None);
    }
    let server = server.context("EXTERNAL_CA=ISTIOD_RA_KUBERNETES_API needs a cluster")?;
    let names = SignerNames { default: own.k8s_signer.clone(), domain: own.cert_signer_domain.clone() };
    anyhow::ensure!(
        names.default.is_some() || names.domain.is_some(),
        "EXTERNAL_CA=ISTIOD_RA_KUBERNETES_API needs K8S_SIGNER or CERT_SIGNER_DOMAIN, which say who signs"
    );
    Ok(Some(Arc::new(KubernetesSigner::new(server.client(), names, readable.clone()))))
}

/// The name of this replica: its Pod's.
pub fn replica() -> String {
    std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "istiod".to_owned())
}

/// Every replica looks at the store once a second; a phase lasts long enough for all of them to see it, and for what agents
/// have accepted to reach their Envoys.
fn rotation_settings(replicas: bool) -> RotationSettings {
    RotationSettings {
        replica: replica(),
        least_phase: Duration::from_secs(if replicas { 15 } else { 3 }),
        replica_gone: Duration::from_secs(60),
        report_every: Duration::from_secs(20),
    }
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
