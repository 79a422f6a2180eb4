//! Flags and environment variables of the CA, under Istio's names where Istio has the thing.

use base::Cidr;
use ca::{CipherSuite, KeyAlgorithm, LeastVersion, OwnCertificate, PeerLimits, ServiceAccount, ServingSettings, Settings};
use clap::{ArgAction, Args, ValueEnum};
use istio_api::{Duration, security::request_authentication::JwtRule};
use std::{net::IpAddr, path::PathBuf};

/// The revision of whoever names none.
const DEFAULT_REVISION: &str = "default";

/// Certificates, and who may have them.
#[derive(Args, Debug, Clone)]
#[command(rename_all = "camelCase")]
pub struct IdentityArguments {
    /// Folder of a plugged-in CA, followed as it changes: ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem
    #[arg(long, default_value = "./etc/cacerts", env = "ROOT_CA_DIR")]
    pub root_ca_dir: PathBuf,
    /// Folder that keeps a self-signed root, and root-cert.pem for agents; without one and without a cluster the root
    /// lives as long as the process
    #[arg(long, env = "CA_STORE")]
    pub ca_store: Option<PathBuf>,
    /// File with the public keys (JWKS) of the tokens of agents, where no cluster publishes them; `istiod token` makes both
    #[arg(long, env = "TOKEN_KEYS")]
    pub token_keys: Option<PathBuf>,
    /// Audiences of which a token must be for one
    #[arg(long, default_value = "istio-ca", env = "TOKEN_AUDIENCES", value_delimiter = ',')]
    pub token_audiences: Vec<String>,
    /// How long a self-signed root is valid
    #[arg(long = "selfSignedCACertTTL", default_value = "87600h", env = "CITADEL_SELF_SIGNED_CA_CERT_TTL")]
    pub root_ttl: Duration,
    /// The size of an RSA key for the self-signed root; ECDSA P-256 without
    #[arg(long = "selfSignedCARSAKeySize", env = "CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE")]
    pub rsa_bits: Option<u32>,
    /// The part of its life, in percent, that a signing certificate has left when it is warned of
    #[arg(long = "selfSignedRootCertGracePeriod", default_value = "20", env = "CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE")]
    pub grace_percent: u32,
    /// How long a workload's certificate is valid if the workload does not say
    #[arg(long = "workloadCertTTL", default_value = "24h", env = "DEFAULT_WORKLOAD_CERT_TTL")]
    pub workload_ttl: Duration,
    /// A workload that asks for a longer time is refused
    #[arg(long = "maxWorkloadCertTTL", default_value = "2160h", env = "MAX_WORKLOAD_CERT_TTL")]
    pub max_workload_ttl: Duration,
    /// Serve certificates to workloads
    #[arg(long, default_value = "true", env = "ENABLE_CA_SERVER", action = ArgAction::Set)]
    pub enable_ca_server: bool,
    /// Authenticate proxies on the TLS port
    #[arg(long, default_value = "true", env = "XDS_AUTH", action = ArgAction::Set)]
    pub xds_auth: bool,
    /// A proxy may only be of the namespace and the service account that its certificate or token says
    #[arg(long, default_value = "true", env = "PILOT_ENABLE_XDS_IDENTITY_CHECK", action = ArgAction::Set)]
    pub xds_identity_check: bool,
    /// The namespace that istiod runs in
    #[arg(long, short = 'n', default_value = "istio-system", env = "POD_NAMESPACE")]
    pub namespace: String,
    /// The revision of this control plane
    #[arg(long, default_value = "", env = "REVISION")]
    pub revision: String,
    /// Service accounts (namespace/name) of node proxies, which may ask for certificates of the pods of their nodes
    #[arg(long, env = "CA_TRUSTED_NODE_ACCOUNTS", value_delimiter = ',', value_parser = service_account)]
    pub trusted_node_accounts: Vec<ServiceAccount>,
    /// Address ranges of gateways that are believed what they say of their callers (x-forwarded-client-cert)
    #[arg(long, env = "TRUSTED_GATEWAY_CIDR", value_delimiter = ',')]
    pub trusted_gateway_cidr: Vec<Cidr>,
    /// One more issuer of tokens beside the clusters: JSON of issuer, audiences and jwksUri
    #[arg(long, env = "JWT_RULE", value_parser = token_rule)]
    pub jwt_rule: Option<JwtRule>,
    /// Who signs certificates of workloads in the place of our CA: ISTIOD_RA_KUBERNETES_API, a signer of the cluster
    #[arg(long, env = "EXTERNAL_CA")]
    pub external_ca: Option<ExternalCa>,
    /// The signer of the cluster for workloads that name none
    #[arg(long, env = "K8S_SIGNER")]
    pub k8s_signer: Option<String>,
    /// What stands before the name of a signer that a workload gives
    #[arg(long, env = "CERT_SIGNER_DOMAIN")]
    pub cert_signer_domain: Option<String>,
    /// Further names that istiod is reached by
    #[arg(long, env = "ISTIOD_CUSTOM_HOST", value_delimiter = ',')]
    pub istiod_custom_host: Vec<String>,
    /// Certificate chain that istiod shows, in the place of one from its own CA
    #[arg(long, requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
    /// Certificates (PEM) that clients of the TLS port may chain to beside those of the CA
    #[arg(long)]
    pub ca_cert_file: Option<PathBuf>,
    /// Cipher suites of TLS 1.2, by Go's names; all good ones without. Those of TLS 1.3 cannot be chosen
    #[arg(long = "tls-cipher-suites", value_delimiter = ',')]
    pub tls_cipher_suites: Vec<CipherSuite>,
    /// The oldest version of TLS
    #[arg(long = "tls-min-version", default_value = "TLSV1_2", value_enum, ignore_case = true)]
    pub tls_min_version: TlsVersion,
    /// Connections that one address may hold on the TLS port
    #[arg(long, default_value_t = PeerLimits::default().connections)]
    pub max_connections_per_peer: usize,
    /// Requests for certificates, and authentications of streams, of one address in a second
    #[arg(long, default_value_t = PeerLimits::default().requests_per_second)]
    pub requests_per_second_per_peer: f64,
    /// The same, at once
    #[arg(long, default_value_t = PeerLimits::default().burst)]
    pub request_burst_per_peer: f64,
}

/// Istio's word for an external signer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ExternalCa {
    /// A signer of the cluster
    #[value(name = "ISTIOD_RA_KUBERNETES_API")]
    Kubernetes,
}

fn service_account(text: &str) -> Result<ServiceAccount, String> {
    let (namespace, name) = text.trim().split_once('/').ok_or("a service account is namespace/name")?;
    Ok(ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
}

fn token_rule(text: &str) -> Result<JwtRule, String> {
    let rule: JwtRule = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match (rule.issuer.is_empty(), rule.audiences.is_empty()) {
        (true, _) => Err("issuer is missing".to_owned()),
        // A token for anybody would be one for us.
        (false, true) => Err("audiences is missing".to_owned()),
        (false, false) => Ok(rule),
    }
}

/// Istio's words for versions of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TlsVersion {
    /// TLS 1.2
    #[value(name = "TLSV1_2", alias = "1.2")]
    Tls12,
    /// TLS 1.3
    #[value(name = "TLSV1_3", alias = "1.3")]
    Tls13,
}

impl IdentityArguments {
    /// Lifetimes and keys.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let root_key = match self.rsa_bits {
            None => KeyAlgorithm::default(),
            Some(bits) => KeyAlgorithm::rsa(bits)
                .ok_or_else(|| anyhow::anyhow!("CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE {bits}: keys have 2048, 3072 or 4096 bits"))?,
        };
        anyhow::ensure!(self.workload_ttl.as_secs() > 0, "DEFAULT_WORKLOAD_CERT_TTL must be a second or longer");
        anyhow::ensure!(self.workload_ttl <= self.max_workload_ttl, "DEFAULT_WORKLOAD_CERT_TTL is over MAX_WORKLOAD_CERT_TTL");
        Ok(Settings {
            root_ttl: *self.root_ttl,
            root_key,
            default_workload_ttl: *self.workload_ttl,
            max_workload_ttl: *self.max_workload_ttl,
            grace_percent: self.grace_percent,
        })
    }

    /// What one peer may take.
    pub fn limits(&self) -> PeerLimits {
        PeerLimits {
            connections: self.max_connections_per_peer,
            requests_per_second: self.requests_per_second_per_peer,
            burst: self.request_burst_per_peer,
            ..PeerLimits::default()
        }
    }

    /// The revision of this istiod; where none is given it is the default one.
    pub fn revision(&self) -> &str {
        if self.revision.is_empty() { DEFAULT_REVISION } else { &self.revision }
    }

    /// The names in istiod's own certificate: those of its Services (Istio's `istiod`, `istiod-remote`, `istio-pilot`,
    /// and `istiod-<revision>`) with the shorter `.svc` alone, and this host, for agents that run beside it.
    pub fn serving(&self) -> ServingSettings {
        let mut names: Vec<String> =
            ["istiod", "istiod-remote", "istio-pilot"].map(|name| format!("{name}.{}.svc", self.namespace)).to_vec();
        if self.revision() != DEFAULT_REVISION {
            names.push(format!("istiod-{}.{}.svc", self.revision(), self.namespace));
        }
        names.extend(self.istiod_custom_host.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
        names.push("localhost".to_owned());
        names.sort();
        names.dedup();
        ServingSettings {
            names,
            addresses: vec![IpAddr::from([127, 0, 0, 1]), std::net::Ipv6Addr::LOCALHOST.into()],
            lifetime: *self.workload_ttl,
            least_version: match self.tls_min_version {
                TlsVersion::Tls12 => LeastVersion::Tls12,
                TlsVersion::Tls13 => LeastVersion::Tls13,
            },
            cipher_suites: self.tls_cipher_suites.clone(),
        }
    }

    /// The certificate of the operator's own.
    pub fn own_certificate(&self) -> Option<OwnCertificate> {
        let (chain, key) = (self.tls_cert_file.clone()?, self.tls_key_file.clone()?);
        Some(OwnCertificate { chain, key })
    }
}
