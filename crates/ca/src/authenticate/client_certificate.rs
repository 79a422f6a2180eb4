//! The identity in a client certificate that the handshake has verified.

use base::SpiffeIdentity;
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// What matters of a verified client certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// Its one SPIFFE identity.
    pub identity: SpiffeIdentity,
    /// When it is not valid any more: seconds since 1970. Connections outlive certificates.
    pub expires: i64,
}

impl ClientCertificate {
    /// Reads the identity; `None` if the certificate has none, or several URIs, of which SPIFFE allows one only.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let mut uris = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let (uri, None) = (uris.next()?, uris.next()) else { return None };
        Some(Self { identity: SpiffeIdentity::parse(uri)?, expires: certificate.validity().not_after.timestamp() })
    }
}
