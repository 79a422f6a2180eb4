//! The SDS resources that istiod serves to gateways.

use xds_api::envoy::config::core::v3::{DataSource, data_source::Specifier};
use xds_api::envoy::extensions::transport_sockets::tls::v3::{CertificateValidationContext, Secret, TlsCertificate, secret};

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
