//! TLS that is terminated: mTLS of sidecars and the servers of gateways.

use super::source::{
    CertificateFiles, CredentialSource, ROOT_CERTIFICATE, credential_ca_name, credential_secret_config, file_certificate_name,
    file_root_secret, file_secret_config, workload_secret_config, workload_secrets,
};
use super::{parameters, upstream::exact_names};
use istio_api::mesh::mesh_config::TlsConfig;
use istio_api::networking::gateway::{ServerTlsMode, ServerTlsSettings};
use xds_api::envoy::config::core::v3::{DataSource, data_source::Specifier};
use xds_api::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, TlsParameters,
    certificate_validation_context::TrustChainVerification,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
};
use xds_api::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

/// The protocols that a server offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DownstreamAlpn {
    /// `h2`, `http/1.1`
    Http,
    /// The same after `istio-peer-exchange`: opaque TCP between sidecars.
    Tcp,
    /// `h3`
    Quic,
}

impl DownstreamAlpn {
    fn protocols(self) -> Vec<String> {
        let protocols: &[&str] = match self {
            Self::Http => &["h2", "http/1.1"],
            Self::Tcp => &["istio-peer-exchange", "h2", "http/1.1"],
            Self::Quic => &["h3"],
        };
        protocols.iter().map(|protocol| (*protocol).to_owned()).collect()
    }
}

/// What a certificate is checked against: `context` holds the rules, `authorities` come as a secret.
pub(super) fn combined(context: CertificateValidationContext, authorities: SdsSecretConfig) -> ValidationContextType {
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(authorities),
        ..CombinedCertificateValidationContext::default()
    })
}

/// A file that Envoy reads by itself; `None` for no path.
pub(super) fn file(path: &str) -> Option<DataSource> {
    (!path.is_empty()).then(|| DataSource { specifier: Some(Specifier::Filename(path.to_owned())), ..DataSource::default() })
}

/// All that server-side mTLS of a sidecar depends on.
#[derive(Clone, Copy, Debug)]
pub struct DownstreamMtlsInputs<'a> {
    /// Of one of these the client's identity must be; none is of any.
    pub trust_domains: &'a [String],
    /// What the server offers.
    pub alpn: DownstreamAlpn,
    /// `MeshConfig.meshMTLS`
    pub mesh_mtls: Option<&'a TlsConfig>,
    /// The proxy's own certificate, if it is in files.
    pub files: Option<CertificateFiles<'a>>,
    /// Where these come from.
    pub credentials: CredentialSource,
}

/// Server-side mTLS of a sidecar.
#[expect(deprecated, reason = "match_subject_alt_names is what Istio sends; its typed successor matches one kind of name only")]
pub fn downstream_mtls(inputs: &DownstreamMtlsInputs<'_>) -> DownstreamTlsContext {
    let prefix = |domain: &String| StringMatcher {
        match_pattern: Some(MatchPattern::Prefix(format!("spiffe://{domain}/"))),
        ..StringMatcher::default()
    };
    let identities = CertificateValidationContext {
        match_subject_alt_names: inputs.trust_domains.iter().map(prefix).collect(),
        ..CertificateValidationContext::default()
    };
    let (certificate, authorities) = workload_secrets(inputs.files, inputs.credentials);
    DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(parameters::inbound_parameters(inputs.mesh_mtls)),
            tls_certificate_sds_secret_configs: vec![certificate],
            validation_context_type: Some(combined(identities, authorities)),
            alpn_protocols: inputs.alpn.protocols(),
            ..CommonTlsContext::default()
        }),
        require_client_certificate: Some(true.into()),
        ..DownstreamTlsContext::default()
    }
}

/// All that the TLS of one server of a Gateway (or of a Sidecar's ingress listener) depends on.
#[derive(Clone, Copy, Debug)]
pub struct ServerTlsInputs<'a> {
    /// The user's settings.
    pub settings: &'a ServerTlsSettings,
    /// What the server offers.
    pub alpn: DownstreamAlpn,
    /// `MeshConfig.tlsDefaults`.
    pub defaults: Option<&'a TlsConfig>,
    /// Where Secrets come from.
    pub credentials: CredentialSource,
    /// The proxy's own certificate, if it is in files.
    pub files: Option<CertificateFiles<'a>>,
}

/// The TLS of a server; `None` for the two PASSTHROUGH modes, which terminate none
/// (Istio's `buildGatewayListenerTLSContext`).
pub fn gateway_server_tls(inputs: &ServerTlsInputs<'_>) -> Option<DownstreamTlsContext> {
    let settings = inputs.settings;
    if matches!(settings.mode, ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough) {
        return None;
    }
    let own = matches!(settings.mode, ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    Some(DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: if own { server_parameters(settings, inputs.defaults) } else { None },
            tls_certificate_sds_secret_configs: server_certificates(inputs),
            validation_context_type: client_validation(inputs),
            alpn_protocols: inputs.alpn.protocols(),
            ..CommonTlsContext::default()
        }),
        require_client_certificate: Some(matches!(settings.mode, ServerTlsMode::Mutual | ServerTlsMode::IstioMutual).into()),
        ..DownstreamTlsContext::default()
    })
}

/// The names of Secrets: at most two, an RSA and an ECDSA certificate.
fn credentials(settings: &ServerTlsSettings) -> Vec<&str> {
    match settings.credential_names.as_slice() {
        [] if settings.credential_name.is_empty() => Vec::new(),
        [] => vec![settings.credential_name.as_str()],
        names => names.iter().map(String::as_str).collect(),
    }
}

fn server_certificates(inputs: &ServerTlsInputs<'_>) -> Vec<SdsSecretConfig> {
    let (settings, source) = (inputs.settings, inputs.credentials);
    let names = credentials(settings);
    if settings.mode == ServerTlsMode::IstioMutual {
        return vec![workload_secrets(inputs.files, source).0];
    }
    if !names.is_empty() {
        return names.into_iter().map(|name| credential_secret_config(name, source)).collect();
    }
    if settings.tls_certificates.is_empty() {
        return vec![file_secret_config(&file_certificate_name(&settings.server_certificate, &settings.private_key), source)];
    }
    let certificates = settings.tls_certificates.iter();
    certificates.map(|pair| file_secret_config(&file_certificate_name(&pair.server_certificate, &pair.private_key), source)).collect()
}

/// The check of clients' certificates, if there is one.
#[expect(deprecated, reason = "match_subject_alt_names is what Istio sends; its typed successor matches one kind of name only")]
fn client_validation(inputs: &ServerTlsInputs<'_>) -> Option<ValidationContextType> {
    let (settings, source) = (inputs.settings, inputs.credentials);
    let mut context = CertificateValidationContext {
        match_subject_alt_names: exact_names(&settings.subject_alt_names),
        verify_certificate_spki: settings.verify_certificate_spki.clone(),
        verify_certificate_hash: settings.verify_certificate_hash.clone(),
        crl: file(&settings.ca_crl),
        ..CertificateValidationContext::default()
    };
    if settings.insecure_skip_verify == Some(true) {
        context.trust_chain_verification = TrustChainVerification::AcceptUntrusted.into();
    }
    match settings.mode {
        ServerTlsMode::IstioMutual => Some(combined(context, workload_secrets(inputs.files, source).1)),
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            let (authorities, crl) = client_authorities(settings, source);
            context.crl = crl;
            Some(combined(context, authorities))
        }
        _ if !settings.subject_alt_names.is_empty() => Some(ValidationContextType::ValidationContext(context)),
        _ => None,
    }
}

/// The authorities of clients: a Secret or ConfigMap of their own, the `-cacert` of the credential, or a file; and the file
/// of what they revoked, where the proxy reads it beside them.
fn client_authorities(settings: &ServerTlsSettings, source: CredentialSource) -> (SdsSecretConfig, Option<DataSource>) {
    let crl = || file(&settings.ca_crl);
    if !settings.ca_cert_credential_name.is_empty() {
        return (credential_secret_config(&settings.ca_cert_credential_name, source), crl());
    }
    if let Some(name) = credentials(settings).first() {
        return (credential_secret_config(&credential_ca_name(name), source), crl());
    }
    let of_certificate = settings.tls_certificates.first().map(|pair| pair.ca_certificates.as_str()).unwrap_or_default();
    match [settings.ca_certificates.as_str(), of_certificate].into_iter().find(|path| !path.is_empty()) {
        Some(path) => file_root_secret(path, &settings.ca_crl, source),
        None => (workload_secret_config(ROOT_CERTIFICATE), crl()),
    }
}

/// The mesh's defaults under the user's settings; `None` if neither says anything.
fn server_parameters(settings: &ServerTlsSettings, defaults: Option<&TlsConfig>) -> Option<TlsParameters> {
    let mut parameters = TlsParameters::default();
    parameters::apply(&mut parameters, defaults);
    let (minimum, maximum) = (settings.min_protocol_version, settings.max_protocol_version);
    if minimum != Default::default() {
        parameters.tls_minimum_protocol_version = parameters::gateway_protocol(minimum).into();
    }
    if maximum != Default::default() {
        parameters.tls_maximum_protocol_version = parameters::gateway_protocol(maximum).into();
    }
    let suites = parameters::known(&settings.cipher_suites, &base::tls::CIPHER_SUITES);
    if !suites.is_empty() {
        parameters.cipher_suites = suites;
    }
    let curves = parameters::known(&settings.ecdh_curves, &base::tls::CURVES);
    if !curves.is_empty() {
        parameters.ecdh_curves = curves;
    }
    (parameters != TlsParameters::default()).then_some(parameters)
}
