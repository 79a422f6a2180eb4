//! TLS of the client and of the endpoints. Nobody checks a server's certificate here: which one Envoy presents is told in the
//! answer, and the case says which it should be.

use super::certificates::Certificate;
use anyhow::{Context, Result};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    },
};

/// The name in the certificate of every endpoint.
pub const ENDPOINT: &str = "endpoint.test";

/// An endpoint's side.
///
/// # Errors
/// If no certificate can be made.
pub fn acceptor() -> Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed([ENDPOINT.to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).ok().context("the key of a certificate")?;
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = config.with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A client's side, with a certificate of its own if there is one.
///
/// # Errors
/// If the handshake fails, or the certificate cannot be read.
pub async fn connect(
    stream: TcpStream,
    server_name: &str,
    alpn: &[String],
    certificate: Option<&Certificate>,
) -> Result<TlsStream<TcpStream>> {
    let mut config = client(certificate)?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    config.enable_sni = !server_name.is_empty();
    let name = if server_name.is_empty() { "nobody.test" } else { server_name };
    Ok(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned())?, stream).await?)
}

/// What a client goes by, which offers no protocols yet.
///
/// # Errors
/// If its certificate cannot be read.
pub fn client(certificate: Option<&Certificate>) -> Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
    Ok(match certificate {
        None => config.with_no_client_auth(),
        Some(certificate) => {
            let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?)?
        }
    })
}

/// Whether the server's certificate has the name in it, as text.
pub fn presents(stream: &TlsStream<TcpStream>, name: &str) -> bool {
    is_of(stream.get_ref().1.peer_certificates().unwrap_or_default(), name)
}

/// Whether the first of these certificates has the name in it, as text.
pub fn is_of(certificates: &[CertificateDer<'_>], name: &str) -> bool {
    certificates.first().is_some_and(|certificate| certificate.windows(name.len()).any(|window| window == name.as_bytes()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Believes every server.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
