//! TLS of our own servers: the certificate that they show, and which client certificates they take.

use crate::{
    authority::{Authority, AuthorityError, Subject},
    cipher_suite::CipherSuite,
    pem,
    signer::{Signer, seconds},
};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::watch;
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

/// Why no server can be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// No certificate for it.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The library refuses what it is given.
    #[error("TLS: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// A file of the operator's own certificate cannot be used.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// The roots cannot be used to check clients.
    #[error("client certificates cannot be checked: {0}")]
    Verifier(String),
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LeastVersion {
    /// TLS 1.2, Istio's default.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What a server of ours shows and wants.
#[derive(Clone, Debug)]
pub struct ServingSettings {
    /// The DNS names that it is reached by.
    pub names: Vec<String>,
    /// The addresses that it is reached by.
    pub addresses: Vec<IpAddr>,
    /// How long a certificate of our own is valid; a new one is made after half of that.
    pub lifetime: Duration,
    /// The oldest version of TLS.
    pub least_version: LeastVersion,
    /// The suites of TLS 1.2; empty means all that are good.
    pub cipher_suites: Vec<CipherSuite>,
}

/// A certificate of the operator's own, in the place of one that we would make (`--tlsCertFile`, `--tlsKeyFile`). Whoever
/// renews it replaces the files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnCertificate {
    /// The chain, the server's certificate first.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl OwnCertificate {
    fn load(&self) -> Result<Pair, ServingError> {
        let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|error| fault(path, error.to_string()));
        let chain = pem::certificates(&read(&self.chain)?).map_err(|error| fault(&self.chain, error.to_string()))?;
        let key = pem::private_key(&read(&self.key)?).map_err(|error| fault(&self.key, error.to_string()))?;
        Ok((chain, key))
    }
}

fn fault(path: &Path, error: String) -> ServingError {
    ServingError::File { path: path.to_owned(), error }
}

/// What protocols a server speaks inside of TLS, and whether it looks at client certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerKind {
    /// gRPC: HTTP/2, client certificates of the mesh are taken if there are any.
    Secured,
    /// Webhooks: HTTP/2 and HTTP/1.1, no client certificates.
    Webhook,
}

/// The configurations of all our TLS servers. Handshakes take the newest; connections keep theirs.
#[derive(Clone)]
pub struct ServerConfigs {
    /// For the secured gRPC port.
    pub secured: watch::Receiver<Arc<ServerConfig>>,
    /// For the port of the webhooks.
    pub webhook: watch::Receiver<Arc<ServerConfig>>,
}

/// Makes server configurations, and makes them anew when the certificate is half over or what signs has changed.
pub struct Serving {
    authority: Arc<Authority>,
    signers: watch::Receiver<Arc<Signer>>,
    settings: ServingSettings,
    own: Option<OwnCertificate>,
    secured: watch::Sender<Arc<ServerConfig>>,
    webhook: watch::Sender<Arc<ServerConfig>>,
    renewal: SystemTime,
    client_roots: ClientRoots,
    served: Served,
}

/// Roots that clients may have beside those of the CA: those of external signers, and of `--caCertFile`.
pub type ClientRoots = watch::Receiver<Arc<Vec<CertificateDer<'static>>>>;

/// The certificate that is shown, and what clients are checked with: the hash of the CA's roots, and further ones.
type Served = (Option<CertificateDer<'static>>, String, Arc<Vec<CertificateDer<'static>>>);

impl Serving {
    /// The first configurations.
    ///
    /// # Errors
    /// When no certificate can be made, or the one given does not fit its key.
    pub fn new(authority: Arc<Authority>, settings: ServingSettings, own: Option<OwnCertificate>) -> Result<Self, ServingError> {
        Self::with_client_roots(authority, settings, own, watch::channel(Arc::default()).1)
    }

    /// The same, with further roots of clients.
    ///
    /// # Errors
    /// As [`Serving::new`].
    pub fn with_client_roots(
        authority: Arc<Authority>,
        settings: ServingSettings,
        own: Option<OwnCertificate>,
        mut client_roots: ClientRoots,
    ) -> Result<Self, ServingError> {
        // Followed from before the first look, or a change right after it would be missed.
        let signers = authority.follow();
        let (pair, renewal) = certificate(&authority, &settings, own.as_ref())?;
        let signer = authority.signer();
        let more = client_roots.borrow_and_update().clone();
        let secured = watch::Sender::new(Arc::new(config(ServerKind::Secured, &signer, &more, &settings, &pair)?));
        let webhook = watch::Sender::new(Arc::new(config(ServerKind::Webhook, &signer, &more, &settings, &pair)?));
        let served = (pair.0.first().cloned(), signer.bundle.hash.clone(), more);
        Ok(Self { authority, signers, settings, own, secured, webhook, renewal, client_roots, served })
    }

    /// Where servers take their configurations from.
    pub fn configs(&self) -> ServerConfigs {
        ServerConfigs { secured: self.secured.subscribe(), webhook: self.webhook.subscribe() }
    }

    /// Follows the authority and the clock, for ever.
    pub async fn run(mut self) {
        loop {
            let wait = self.renewal.duration_since(SystemTime::now()).unwrap_or(RETRY);
            tokio::select! {
                () = tokio::time::sleep(wait.max(RETRY)) => {}
                changed = self.signers.changed() => if changed.is_err() { return },
                Ok(()) = self.client_roots.changed() => {}
            }
            match self.renew() {
                Ok(true) => tracing::info!("the serving certificate was renewed"),
                Ok(false) => {}
                // The old one goes on being served; the next attempt follows soon.
                Err(error) => tracing::error!("the serving certificate could not be renewed: {error}"),
            }
        }
    }

    /// Whether anything is new.
    fn renew(&mut self) -> Result<bool, ServingError> {
        let (pair, renewal) = certificate(&self.authority, &self.settings, self.own.as_ref())?;
        let signer = self.authority.signer();
        let more = self.client_roots.borrow().clone();
        let serve = (pair.0.first().cloned(), signer.bundle.hash.clone(), more.clone());
        self.renewal = renewal;
        if self.served == serve {
            return Ok(false);
        }
        self.secured.send_replace(Arc::new(config(ServerKind::Secured, &signer, &more, &self.settings, &pair)?));
        self.webhook.send_replace(Arc::new(config(ServerKind::Webhook, &signer, &more, &self.settings, &pair)?));
        self.served = serve;
        Ok(true)
    }
}

/// Between attempts, and between renewals of certificates that live very shortly.
const RETRY: Duration = Duration::from_secs(1);

/// How often files are read again.
const FILES: Duration = Duration::from_secs(5);

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificate(
    authority: &Authority,
    settings: &ServingSettings,
    own: Option<&OwnCertificate>,
) -> Result<(Pair, SystemTime), ServingError> {
    let now = SystemTime::now();
    if let Some(own) = own {
        return Ok((own.load()?, now + FILES));
    }
    let subject = Subject::Server { names: settings.names.clone(), addresses: settings.addresses.clone() };
    let (chain, key, expires) = authority.serving_certificate(&subject, settings.lifetime, now)?;
    let life = u64::try_from(expires.saturating_sub(seconds(now))).unwrap_or(0);
    Ok(((chain, key), now + Duration::from_secs(life / 2)))
}

fn config(
    kind: ServerKind,
    signer: &Signer,
    client_roots: &[CertificateDer<'static>],
    settings: &ServingSettings,
    pair: &Pair,
) -> Result<ServerConfig, ServingError> {
    let provider = Arc::new(provider(&settings.cipher_suites));
    let versions: &[&SupportedProtocolVersion] = match settings.least_version {
        LeastVersion::Tls12 => &[&TLS13, &TLS12],
        LeastVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let builder = match kind {
        ServerKind::Secured => builder.with_client_cert_verifier(client_verifier(signer, client_roots, provider)?),
        ServerKind::Webhook => builder.with_no_client_auth(),
    };
    let (chain, key) = pair;
    let mut config = builder.with_single_cert(chain.clone(), key.clone_key())?;
    config.alpn_protocols = match kind {
        ServerKind::Secured => vec![b"h2".to_vec()],
        ServerKind::Webhook => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    // A resumed session would carry the identity of a certificate that nobody looks at again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn provider(cipher_suites: &[CipherSuite]) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !cipher_suites.is_empty() {
        let chosen = |suite: &SupportedCipherSuite| suite.tls13().is_some() || cipher_suites.iter().any(|chosen| chosen.0 == *suite);
        provider.cipher_suites.retain(chosen);
    }
    provider
}

/// Takes certificates of every root that is trusted now, so also of the one that is on its way out, unless revoked.
fn client_verifier(
    signer: &Signer,
    client_roots: &[CertificateDer<'static>],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ServingError> {
    let mut roots = RootCertStore::empty();
    for root in signer.bundle.roots.iter().chain(client_roots) {
        roots.add(root.clone())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(signer.revocation_lists.iter().cloned())
        .allow_unknown_revocation_status()
        .allow_unauthenticated()
        .build()
        .map_err(|error| ServingError::Verifier(error.to_string()))
}
