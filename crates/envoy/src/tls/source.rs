//! Where Envoy gets a secret: from the agent on the workload's side, from an external provider on a Unix socket, or
//! from istiod over ADS.

use super::downstream::file;
use base::secret_name::{FILE_CERTIFICATE, FILE_ROOT, FILE_SEPARATOR, KUBERNETES_GATEWAY};
use xds_api::envoy::config::core::v3::{
    AggregatedConfigSource, ApiConfigSource, ApiVersion, ConfigSource, DataSource, GrpcService,
    api_config_source::ApiType,
    config_source::ConfigSourceSpecifier,
    grpc_service::{EnvoyGrpc, TargetSpecifier},
};
use xds_api::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig;
use xds_api::google::protobuf::Duration;

/// The certificate of the workload, from the agent.
pub const WORKLOAD_CERTIFICATE: &str = "default";
/// The roots of the mesh, from the agent.
pub const ROOT_CERTIFICATE: &str = "ROOTCA";
/// The cluster of the agent's socket, in Istio's bootstrap.
pub const SDS_CLUSTER: &str = "sds-grpc";
/// The cluster of an external provider's socket, in Istio's bootstrap.
pub const SDS_EXTERNAL_CLUSTER: &str = "sds-external";

/// The file name that stands for the authorities of the system.
pub(super) const SYSTEM_AUTHORITIES: &str = "system";
/// What Istio appends to the name of a credential for its authorities.
const CA_SUFFIX: &str = "-cacert";
/// The prefix of credentials that an external provider serves on a socket.
const EXTERNAL_PREFIX: &str = "sds://";
/// The credential that stands for the workload's own certificate.
const BUILTIN: &str = "builtin://";
/// Prefixes of names that already say where the secret is (Istio's `credentials` package).
const RESOURCE_PREFIXES: [&str; 5] = ["kubernetes://", KUBERNETES_GATEWAY, "configmap://", "invalid://", EXTERNAL_PREFIX];

/// How the proxy gets the Secrets that objects name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum CredentialSource {
    /// From istiod over ADS.
    #[default]
    Ads,
    /// The same, but `sds://` names from an external provider, whose socket the proxy reported in its node metadata.
    AdsOrExternal,
    /// The same for a proxy without an agent: what an agent would read from files for it, it is told to read itself, in
    /// secrets of their own, so that a file that does not exist spoils nothing else.
    AdsWithFiles,
}

/// A certificate of the workload in files, which stands in the place of the agent's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CertificateFiles<'a> {
    /// The certificate and its intermediates.
    pub certificate: &'a str,
    /// Its key.
    pub key: &'a str,
    /// The authorities of peers; empty for those of the mesh.
    pub authorities: &'a str,
}

/// The certificate of the workload and the authorities of its peers: in files, or as the agent has them.
pub(super) fn workload_secrets(files: Option<CertificateFiles<'_>>, source: CredentialSource) -> (SdsSecretConfig, SdsSecretConfig) {
    let Some(files) = files else {
        return (workload_secret_config(WORKLOAD_CERTIFICATE), workload_secret_config(ROOT_CERTIFICATE));
    };
    let authorities = match files.authorities {
        "" => workload_secret_config(ROOT_CERTIFICATE),
        authorities => file_secret_config(&file_root_name(authorities), source),
    };
    (file_secret_config(&file_certificate_name(files.certificate, files.key), source), authorities)
}

fn grpc(cluster: &str, initial_fetch_timeout: Option<Duration>) -> ConfigSource {
    let service = GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc { cluster_name: cluster.to_owned(), ..EnvoyGrpc::default() })),
        ..GrpcService::default()
    };
    let source = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        ..ApiConfigSource::default()
    };
    ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(source)),
        initial_fetch_timeout,
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    }
}

/// A secret of the workload ([`WORKLOAD_CERTIFICATE`] or [`ROOT_CERTIFICATE`]), for which Envoy waits as long as needed.
pub fn workload_secret_config(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(grpc(SDS_CLUSTER, Some(Duration::default()))) }
}

/// Authorities in a file and, if there is one, the list of what they revoked: what names them, and what of the list is left
/// to the context that names them. An agent serves authorities only, so that the proxy reads the list by itself and as a
/// part of that context.
pub(super) fn file_root_secret(authorities: &str, revocations: &str, source: CredentialSource) -> (SdsSecretConfig, Option<DataSource>) {
    match source {
        CredentialSource::AdsWithFiles if !revocations.is_empty() => {
            (ads_secret_config(&file_root_with_revocations(authorities, revocations)), None)
        }
        _ => (file_secret_config(&file_root_name(authorities), source), file(revocations)),
    }
}

/// A secret that the agent reads from files, or the proxy itself without one; see [`file_certificate_name`] and
/// [`file_root_name`].
pub fn file_secret_config(name: &str, source: CredentialSource) -> SdsSecretConfig {
    match source {
        CredentialSource::AdsWithFiles => ads_secret_config(name),
        CredentialSource::Ads | CredentialSource::AdsOrExternal => {
            SdsSecretConfig { name: name.to_owned(), sds_config: Some(grpc(SDS_CLUSTER, None)) }
        }
    }
}

/// A secret that istiod serves on the proxy's own ADS stream.
pub fn ads_secret_config(name: &str) -> SdsSecretConfig {
    let source = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    };
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(source) }
}

/// The agent's name of a certificate and key in files.
pub fn file_certificate_name(certificate: &str, key: &str) -> String {
    format!("{FILE_CERTIFICATE}{certificate}{FILE_SEPARATOR}{key}")
}

/// The name of authorities in a file, and of a list of what they revoked, for a proxy that reads both by itself.
pub(super) fn file_root_with_revocations(authorities: &str, revocations: &str) -> String {
    format!("{FILE_ROOT}{authorities}{FILE_SEPARATOR}{revocations}")
}

/// The agent's name of authorities in a file; `system` is the system's.
pub fn file_root_name(authorities: &str) -> String {
    format!("{FILE_ROOT}{authorities}")
}

/// The resource name of a `credentialName`: `kubernetes://<name>` unless it has one of Istio's prefixes.
pub fn credential_resource_name(credential: &str) -> String {
    if credential.starts_with(BUILTIN) {
        return WORKLOAD_CERTIFICATE.to_owned();
    }
    if RESOURCE_PREFIXES.iter().any(|prefix| credential.starts_with(prefix)) {
        return credential.to_owned();
    }
    format!("kubernetes://{credential}")
}

/// The name of the authorities that belong to a credential.
pub(super) fn credential_ca_name(credential: &str) -> String {
    format!("{credential}{CA_SUFFIX}")
}

/// The secret behind a `credentialName` (Istio's `ConstructSdsSecretConfigForCredential`).
pub fn credential_secret_config(credential: &str, source: CredentialSource) -> SdsSecretConfig {
    if let Some(rest) = credential.strip_prefix(BUILTIN) {
        return workload_secret_config(if rest.ends_with(CA_SUFFIX) { ROOT_CERTIFICATE } else { WORKLOAD_CERTIFICATE });
    }
    match (source, credential.strip_prefix(EXTERNAL_PREFIX)) {
        (CredentialSource::AdsOrExternal, Some(name)) => {
            SdsSecretConfig { name: name.to_owned(), sds_config: Some(grpc(SDS_EXTERNAL_CLUSTER, None)) }
        }
        _ => ads_secret_config(&credential_resource_name(credential)),
    }
}
