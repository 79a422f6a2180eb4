//! Mutual TLS to the server: each proxy shows a certificate of its own, which the CA in a folder has signed. The folder is the
//! one that istiod takes as `--rootCaDir`, so that it knows these certificates as its own.

use anyhow::{Context as _, anyhow};
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType};
use std::{path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        client::Resumption,
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

/// The name in istiod's own certificate.
const SERVER: &str = "istiod.istio-system.svc";

/// Signs certificates of proxies.
pub struct Identities {
    issuer: Issuer<'static, KeyPair>,
    above: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Identities {
    /// The CA of a folder with `ca-cert.pem`, `ca-key.pem` and `root-cert.pem`.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).with_context(|| folder.join(name).display().to_string());
        let (certificate, key, root) = (text("ca-cert.pem")?, text("ca-key.pem")?, text("root-cert.pem")?);
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&key)?)?;
        let certificates = |text: &str| CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let mut roots = RootCertStore::empty();
        for root in certificates(&root)? {
            roots.add(root)?;
        }
        let above = certificates(&certificate)?;
        Ok(Self { issuer, above, roots: Arc::new(roots), provider: Arc::new(aws_lc_rs::default_provider()) })
    }

    /// A client with a certificate of a service account `default`. Every connection is a full handshake.
    pub fn connector(&self, namespace: &str) -> anyhow::Result<TlsConnector> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://cluster.local/ns/{namespace}/sa/default").try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let mut chain = vec![params.signed_by(&key, &self.issuer)?.der().clone()];
        chain.extend(self.above.iter().cloned());
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| anyhow!("the key: {error}"))?;
        let config = ClientConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions()?;
        let mut config = config.with_root_certificates(self.roots.clone()).with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// Connects. With TLS 1.3 the server may still be checking the client's certificate.
pub async fn connect(connector: &TlsConnector, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
    Ok(connector.connect(ServerName::try_from(SERVER)?, stream).await?)
}

/// What an HTTP/2 client says first: the preface, and settings that leave everything as it is.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Connects and disconnects. The server's own settings are waited for: it sends them once it has accepted the certificate.
pub async fn greet(connector: &TlsConnector, address: &str) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = connect(connector, stream).await?;
    stream.write_all(PREFACE).await?;
    stream.read_u8().await?;
    stream.shutdown().await?;
    Ok(())
}
