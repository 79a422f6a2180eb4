//! Whether a chain that ends TLS has what it needs from the control plane.

use crate::resources::Resources;
use xds_api::envoy::{
    config::core::v3::config_source::ConfigSourceSpecifier,
    extensions::transport_sockets::tls::v3::{CommonTlsContext, SdsSecretConfig, common_tls_context::ValidationContextType},
};

/// Whether the chain has a certificate, and the authorities by which it checks clients. What an agent serves counts as
/// there; of two certificates one is enough.
pub fn is_ready(context: &CommonTlsContext, resources: &Resources) -> bool {
    let there = |config: &SdsSecretConfig| {
        let source = config.sds_config.as_ref().and_then(|source| source.config_source_specifier.as_ref());
        !matches!(source, Some(ConfigSourceSpecifier::Ads(_))) || resources.secrets.contains(&config.name)
    };
    let certificates = &context.tls_certificate_sds_secret_configs;
    let authorities = match &context.validation_context_type {
        Some(ValidationContextType::CombinedValidationContext(combined)) => combined.validation_context_sds_secret_config.as_ref(),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => Some(config),
        _ => None,
    };
    (certificates.is_empty() || certificates.iter().any(there)) && authorities.is_none_or(there)
}
