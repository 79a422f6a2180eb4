//! The messages of Istio's `istio.v1.auth` (`security/v1alpha1/ca.proto`). Two of them, so they are written by hand.

use xds_api::google::protobuf::{Struct, value::Kind};

/// The gRPC method that issues certificates.
pub const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// The header in which an agent of ours states the id of its node (as in xDS), so that a rotation knows exactly which
/// proxies have their new certificates. Istio's agents do not send it; then service account and address tell them apart.
pub const NODE_HEADER: &str = "x-node-id";

/// The metadata in which a node proxy names the workload that it wants a certificate of.
pub const IMPERSONATED_IDENTITY: &str = "ImpersonatedIdentity";

/// The metadata in which an agent names one of several external signers.
pub const CERT_SIGNER: &str = "CertSigner";

/// `IstioCertificateRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CertificateRequest {
    /// A PKCS#10 request as PEM. Only its public key counts.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// Seconds; 0 is the default of the CA.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// [`IMPERSONATED_IDENTITY`] and [`CERT_SIGNER`].
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<Struct>,
}

impl CertificateRequest {
    /// A text of the metadata. Whoever has nothing to say writes empty ones.
    pub fn metadata_text(&self, key: &str) -> Option<&str> {
        match &self.metadata.as_ref()?.fields.get(key)?.kind {
            Some(Kind::StringValue(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// What PCDS carries of `istio.mesh.v1alpha1.ProxyConfig`: the roots that agents hand to their Envoys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProxyConfig {
    /// One root each, PEM.
    #[prost(string, repeated, tag = "34")]
    pub ca_certificates_pem: Vec<String>,
}

/// `IstioCertificateResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CertificateResponse {
    /// PEM: the leaf, each intermediate, and last one text with all roots.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}
