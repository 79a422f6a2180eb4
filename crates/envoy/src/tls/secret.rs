//! The SDS resources that istiod serves.

use super::downstream::file;
use super::source::SYSTEM_AUTHORITIES;
use base::secret_name::{FILE_CERTIFICATE, FILE_ROOT, FILE_SEPARATOR};
use std::collections::BTreeSet;
use xds_api::envoy::config::core::v3::{DataSource, config_source::ConfigSourceSpecifier, data_source::Specifier};
use xds_api::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, Secret, TlsCertificate, common_tls_context::ValidationContextType,
    secret,
};

/// A certificate with its key, as a Secret holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateSecret<'a> {
    /// The resource name that the proxy asked for.
    pub name: &'a str,
    /// The certificate and its intermediates, PEM.
    pub certificate_pem: &'a [u8],
    /// The key, PEM.
    pub key_pem: &'a [u8],
    /// The staple of the key `tls.ocsp-staple`, DER.
    pub ocsp_staple: Option<&'a [u8]>,
}

fn inline(data: &[u8]) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(data.to_vec())), ..DataSource::default() }
}

/// The Envoy secret of a certificate with its key.
pub fn secret(inputs: &CertificateSecret<'_>) -> Secret {
    let certificate = TlsCertificate {
        certificate_chain: Some(inline(inputs.certificate_pem)),
        private_key: Some(inline(inputs.key_pem)),
        ocsp_staple: inputs.ocsp_staple.map(inline),
        ..TlsCertificate::default()
    };
    Secret { name: inputs.name.to_owned(), r#type: Some(secret::Type::TlsCertificate(certificate)) }
}

/// The Envoy secret of authorities and, if given, of the certificates that they revoked (both PEM).
pub fn ca_secret(name: &str, authorities_pem: &[u8], revocations_pem: Option<&[u8]>) -> Secret {
    let context = CertificateValidationContext {
        trusted_ca: Some(inline(authorities_pem)),
        crl: revocations_pem.map(inline),
        ..CertificateValidationContext::default()
    };
    Secret { name: name.to_owned(), r#type: Some(secret::Type::ValidationContext(context)) }
}

/// Where Debian, Alpine and Envoy's own images keep the authorities that they trust (Istio's agent looks there first).
const SYSTEM_AUTHORITIES_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The secret of a name by [`super::file_certificate_name`] or [`super::file_root_name`] for a proxy that reads the files
/// itself; it also watches them. `None` for any other name.
pub fn file_secret(name: &str) -> Option<Secret> {
    let content = if let Some(files) = name.strip_prefix(FILE_CERTIFICATE) {
        let (certificate, key) = files.split_once(FILE_SEPARATOR).unwrap_or((files, ""));
        secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: file(certificate),
            private_key: file(key),
            ..TlsCertificate::default()
        })
    } else {
        let authorities = name.strip_prefix(FILE_ROOT)?;
        let (authorities, revocations) = authorities.split_once(FILE_SEPARATOR).unwrap_or((authorities, ""));
        let path = if authorities == SYSTEM_AUTHORITIES { SYSTEM_AUTHORITIES_FILE } else { authorities };
        secret::Type::ValidationContext(CertificateValidationContext {
            trusted_ca: file(path),
            crl: file(revocations),
            ..CertificateValidationContext::default()
        })
    };
    Some(Secret { name: name.to_owned(), r#type: Some(content) })
}

/// The files that a secret by [`file_secret`] consists of; none for any other name.
pub fn files_of(name: &str) -> impl Iterator<Item = &str> {
    let files = name.strip_prefix(FILE_CERTIFICATE).or_else(|| name.strip_prefix(FILE_ROOT)).unwrap_or_default();
    files.split(FILE_SEPARATOR).filter(|file| !file.is_empty())
}

/// The secrets that a TLS context wants of istiod.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SecretNames {
    /// Certificates with their keys.
    pub certificates: BTreeSet<String>,
    /// Authorities.
    pub authorities: BTreeSet<String>,
}

/// Whether a TLS context wants secrets of an agent, without which it cannot be.
pub fn needs_agent(context: &CommonTlsContext) -> bool {
    configs(context).any(|config| !is_ours(config))
}

/// The certificates, then the authorities.
fn configs(context: &CommonTlsContext) -> impl Iterator<Item = &SdsSecretConfig> {
    context.tls_certificate_sds_secret_configs.iter().chain(authorities(context))
}

fn authorities(context: &CommonTlsContext) -> Option<&SdsSecretConfig> {
    match &context.validation_context_type {
        Some(ValidationContextType::CombinedValidationContext(combined)) => combined.validation_context_sds_secret_config.as_ref(),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => Some(config),
        _ => None,
    }
}

fn is_ours(config: &SdsSecretConfig) -> bool {
    let source = config.sds_config.as_ref().and_then(|source| source.config_source_specifier.as_ref());
    matches!(source, Some(ConfigSourceSpecifier::Ads(_)))
}

impl SecretNames {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.authorities.is_empty()
    }

    /// Adds those of another context.
    pub fn extend(&mut self, other: Self) {
        self.certificates.extend(other.certificates);
        self.authorities.extend(other.authorities);
    }

    /// Those of one context.
    pub fn of(context: &CommonTlsContext) -> Self {
        let names = |config: &SdsSecretConfig| is_ours(config).then(|| config.name.clone());
        Self {
            certificates: context.tls_certificate_sds_secret_configs.iter().filter_map(names).collect(),
            authorities: authorities(context).into_iter().filter_map(names).collect(),
        }
    }
}
