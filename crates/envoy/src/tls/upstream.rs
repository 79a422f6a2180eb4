//! TLS that clusters begin: the mesh's mTLS and what a DestinationRule sets.

use super::downstream::combined;
use super::parameters;
use super::source::{
    CredentialSource, ROOT_CERTIFICATE, SYSTEM_AUTHORITIES, WORKLOAD_CERTIFICATE, credential_ca_name, credential_secret_config,
    file_certificate_name, file_root_secret, file_secret_config, workload_secret_config,
};
use istio_api::mesh::mesh_config::TlsConfig;
use istio_api::networking::destination_rule::{ClientTlsMode, ClientTlsSettings};
use xds_api::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, SubjectAltNameMatcher, UpstreamTlsContext,
    common_tls_context::ValidationContextType, subject_alt_name_matcher::SanType,
};
use xds_api::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

/// Matchers for exactly these names.
pub(super) fn exact_names(names: &[String]) -> Vec<StringMatcher> {
    let exact = |name: &String| StringMatcher { match_pattern: Some(MatchPattern::Exact(name.clone())), ..StringMatcher::default() };
    names.iter().map(exact).collect()
}

#[expect(deprecated, reason = "match_subject_alt_names is what Istio sends; its typed successor matches one kind of name only")]
fn names_context(names: &[String]) -> CertificateValidationContext {
    CertificateValidationContext { match_subject_alt_names: exact_names(names), ..CertificateValidationContext::default() }
}

/// mTLS with the workload's certificate: the server must have one of `names` (none: any of the mesh). `http2` says whether
/// the cluster speaks HTTP/2, which is then offered too.
pub fn istio_mutual(names: &[String], sni: &str, http2: bool) -> UpstreamTlsContext {
    let alpn: &[&str] = if http2 { &["istio-peer-exchange", "istio", "h2"] } else { &["istio-peer-exchange", "istio"] };
    UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(parameters::client_parameters()),
            tls_certificate_sds_secret_configs: vec![workload_secret_config(WORKLOAD_CERTIFICATE)],
            validation_context_type: Some(combined(names_context(names), workload_secret_config(ROOT_CERTIFICATE))),
            alpn_protocols: alpn.iter().map(|protocol| (*protocol).to_owned()).collect(),
            ..CommonTlsContext::default()
        }),
        sni: sni.to_owned(),
        ..UpstreamTlsContext::default()
    }
}

/// What the TLS of a DestinationRule depends on.
#[derive(Clone, Copy, Debug)]
pub struct UserTlsInputs<'a> {
    /// The user's settings, of mode SIMPLE or MUTUAL.
    pub settings: &'a ClientTlsSettings,
    /// `subjectAltNames` of the ServiceEntry, for settings without any.
    pub service_names: &'a [String],
    /// Whether the cluster speaks HTTP/2.
    pub http2: bool,
    /// `MeshConfig.tlsDefaults`.
    pub defaults: Option<&'a TlsConfig>,
    /// Where Secrets come from.
    pub credentials: CredentialSource,
    /// Whether `credentialName` is honoured: not by a sidecar whose rule selects no workloads.
    pub credentials_honoured: bool,
}

/// The TLS of a DestinationRule of mode SIMPLE or MUTUAL (Istio's `buildUpstreamClusterTLSContext`); `None` where
/// `credentialName` is not honoured.
///
/// # Errors
/// The field that is missing, for MUTUAL without certificate or key.
pub fn user_tls(inputs: &UserTlsInputs<'_>) -> Result<Option<UpstreamTlsContext>, &'static str> {
    let settings = inputs.settings;
    let names = if settings.subject_alt_names.is_empty() { inputs.service_names } else { &settings.subject_alt_names };
    let mut context = CommonTlsContext { tls_params: Some(parameters::client_parameters()), ..CommonTlsContext::default() };
    if settings.credential_name.is_empty() {
        context.tls_certificate_sds_secret_configs = client_certificate_of_files(inputs)?.into_iter().collect();
        context.validation_context_type = Some(validation_by_files(settings, names, inputs.credentials));
    } else {
        if !inputs.credentials_honoured {
            return Ok(None);
        }
        let source = inputs.credentials;
        if settings.mode == ClientTlsMode::Mutual {
            context.tls_certificate_sds_secret_configs = vec![credential_secret_config(&settings.credential_name, source)];
        }
        context.validation_context_type = Some(validation_by_credential(settings, names, source));
    }
    if let Some(parameters) = &mut context.tls_params {
        parameters::apply(parameters, inputs.defaults);
    }
    if inputs.http2 {
        context.alpn_protocols = vec!["h2".to_owned()];
    }
    Ok(Some(UpstreamTlsContext { common_tls_context: Some(context), sni: settings.sni.clone(), ..UpstreamTlsContext::default() }))
}

fn client_certificate_of_files(inputs: &UserTlsInputs<'_>) -> Result<Option<SdsSecretConfig>, &'static str> {
    let settings = inputs.settings;
    match (settings.mode, settings.client_certificate.as_str(), settings.private_key.as_str()) {
        (ClientTlsMode::Mutual, "", _) => Err("clientCertificate"),
        (ClientTlsMode::Mutual, _, "") => Err("privateKey"),
        (ClientTlsMode::Mutual, certificate, key) => {
            Ok(Some(file_secret_config(&file_certificate_name(certificate, key), inputs.credentials)))
        }
        _ => Ok(None),
    }
}

/// The server must be signed by the given file, without one by the system's authorities (VERIFY_CERTIFICATE_AT_CLIENT).
fn validation_by_files(settings: &ClientTlsSettings, names: &[String], source: CredentialSource) -> ValidationContextType {
    if settings.insecure_skip_verify == Some(true) {
        return ValidationContextType::ValidationContext(CertificateValidationContext::default());
    }
    let path = if settings.ca_certificates.is_empty() { SYSTEM_AUTHORITIES } else { &settings.ca_certificates };
    let (authorities, crl) = file_root_secret(path, &settings.ca_crl, source);
    combined(CertificateValidationContext { crl, ..names_context(names) }, authorities)
}

fn validation_by_credential(settings: &ClientTlsSettings, names: &[String], source: CredentialSource) -> ValidationContextType {
    if settings.insecure_skip_verify == Some(true) {
        return ValidationContextType::ValidationContext(CertificateValidationContext::default());
    }
    combined(names_context(names), credential_secret_config(&credential_ca_name(&settings.credential_name), source))
}

/// mTLS of HBONE's outer connection: TLS 1.3 only, to any workload of the trust domain.
pub(super) fn hbone(trust_domain: &str) -> UpstreamTlsContext {
    let matcher =
        StringMatcher { match_pattern: Some(MatchPattern::Prefix(format!("spiffe://{trust_domain}/"))), ..StringMatcher::default() };
    let name = SubjectAltNameMatcher { san_type: SanType::Uri.into(), matcher: Some(matcher), ..SubjectAltNameMatcher::default() };
    let context = CertificateValidationContext { match_typed_subject_alt_names: vec![name], ..CertificateValidationContext::default() };
    UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(parameters::latest()),
            tls_certificate_sds_secret_configs: vec![workload_secret_config(WORKLOAD_CERTIFICATE)],
            validation_context_type: Some(combined(context, workload_secret_config(ROOT_CERTIFICATE))),
            alpn_protocols: vec!["h2".to_owned()],
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    }
}
