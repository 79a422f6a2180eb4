//! Handshakes with our own servers: whose certificates they take, and which they show.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod mesh;

use ca::{Authority, KeyMaterial, OwnCertificate, ServerConfigs, Serving, ServingSettings, Settings, Signer, TrustDomains, pem};
use mesh::{HOUR, Mesh, csr_of, root};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevocationReason, RevokedCertParams, SerialNumber,
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::io::AsyncReadExt;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs, pki_types::CertificateDer},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

fn settings() -> ServingSettings {
    ServingSettings {
        names: vec!["istiod.istio-system.svc".into()],
        addresses: Vec::new(),
        lifetime: HOUR,
        least_version: ca::LeastVersion::Tls12,
        cipher_suites: Vec::new(),
    }
}

/// A handshake in memory; the certificate that the server has shown, if it takes the client.
async fn handshake(server: Arc<ServerConfig>, roots: &str, held: Option<(&str, &str)>) -> Option<CertificateDer<'static>> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(pem::certificates(roots).unwrap());
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(store);
    let config = match held {
        Some((chain, key)) => builder.with_client_auth_cert(pem::certificates(chain).unwrap(), pem::private_key(key).unwrap()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = "istiod.istio-system.svc".try_into().unwrap();
    let accepted = tokio::spawn(async move { TlsAcceptor::from(server).accept(far).await.map(drop) });
    let mut client = TlsConnector::from(Arc::new(config)).connect(name, near).await.ok()?;
    let shown = client.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    // With TLS 1.3 the client is done before the server has looked at its certificate.
    drop(client.read(&mut [0; 1]).await);
    accepted.await.unwrap().ok().map(|()| shown)
}

#[tokio::test]
async fn revoked_certificates_are_not_taken() {
    let mut material = root();
    let mesh = Mesh::with(&material, ca::PeerLimits::default(), None);
    let key = KeyPair::generate().unwrap();
    let answer = mesh.ask(&csr_of(&key, CertificateParams::default()), &mesh.token("shop", "cart")).await.unwrap();
    let der = pem::certificates(&answer.cert_chain[0]).unwrap().remove(0);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let serial = SerialNumber::from_slice(leaf.raw_serial());

    let config = |material: &KeyMaterial| {
        let signer = Signer::new(material, SystemTime::now()).unwrap();
        let authority = Arc::new(Authority::new(signer, Settings::default()));
        Serving::new(authority, settings(), None).unwrap().configs().secured.borrow().clone()
    };
    let held = (answer.cert_chain[0].as_str(), key.serialize_pem());
    let held = Some((held.0, held.1.as_str()));
    assert!(handshake(config(&material), &material.roots, held).await.is_some());
    let issuer = Issuer::from_ca_cert_pem(&material.certificate, KeyPair::from_pem(&material.key).unwrap()).unwrap();
    let now = time::OffsetDateTime::now_utc();
    let revoked = RevokedCertParams {
        serial_number: serial,
        revocation_time: now,
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: now + HOUR,
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    material.crl = Some(list.signed_by(&issuer).unwrap().pem().unwrap());
    assert!(handshake(config(&material), &material.roots, held).await.is_none());
    assert!(handshake(config(&material), &material.roots, None).await.is_some(), "tokens go on");
}

#[tokio::test]
async fn a_serving_certificate_is_renewed_before_it_ends() {
    let material = root();
    let authority = Arc::new(Authority::new(Signer::new(&material, SystemTime::now()).unwrap(), Settings::default()));
    let serving = Serving::new(authority, ServingSettings { lifetime: Duration::from_secs(4), ..settings() }, None).unwrap();
    let mut configs = serving.configs();
    let running = tokio::spawn(serving.run());
    let config = configs.secured.borrow().clone();
    let first = handshake(config, &material.roots, None).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), configs.webhook.changed()).await.unwrap().unwrap();
    let config = configs.secured.borrow().clone();
    let second = handshake(config, &material.roots, None).await.unwrap();
    assert_ne!(first, second);
    running.abort();
}

#[tokio::test]
async fn another_root_is_taken_at_once() {
    let (old, new) = (root(), root());
    let authority = Arc::new(Authority::new(Signer::new(&old, SystemTime::now()).unwrap(), Settings::default()));
    authority.set_trust_domains(TrustDomains { own: "cluster.local".into(), aliases: Vec::new() });
    let serving = Serving::new(authority.clone(), settings(), None).unwrap();
    let mut configs = serving.configs();
    let running = tokio::spawn(serving.run());
    authority.replace(Signer::new(&new, SystemTime::now()).unwrap());
    let deadline = Instant::now() + Duration::from_secs(10);
    // A guard that is held over an await would stop the sender.
    let newest = |configs: &ServerConfigs| configs.secured.borrow().clone();
    while handshake(newest(&configs), &new.roots, None).await.is_none() {
        assert!(Instant::now() < deadline, "the old root goes on");
        drop(tokio::time::timeout(Duration::from_secs(1), configs.secured.changed()).await);
    }
    running.abort();
}

#[tokio::test]
async fn the_operators_own_certificate_is_shown() {
    let (material, other) = (root(), Mesh::new());
    let folder = tempfile::tempdir().unwrap();
    let subject = ca::Subject::Server { names: vec!["istiod.istio-system.svc".into()], addresses: Vec::new() };
    let (chain, key, _) = other.authority.serving_certificate(&subject, HOUR, SystemTime::now()).unwrap();
    let own = OwnCertificate { chain: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
    std::fs::write(&own.chain, chain.iter().map(pem::encode_certificate).collect::<String>()).unwrap();
    std::fs::write(&own.key, pem::encode("PRIVATE KEY", key.secret_der())).unwrap();
    let authority = Arc::new(Authority::new(Signer::new(&material, SystemTime::now()).unwrap(), Settings::default()));
    let serving = Serving::new(authority, settings(), Some(own)).unwrap();
    let roots = other.authority.signer().bundle.pem.clone();
    let config = serving.configs().secured.borrow().clone();
    let shown = handshake(config, &roots, None).await;
    assert_eq!(shown.as_ref(), chain.first());
}

#[test]
fn cipher_suites_are_chosen_by_their_names() {
    let suite = |name: &str| name.parse::<ca::CipherSuite>();
    let chosen = vec![suite("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256").unwrap(), suite("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305").unwrap()];
    let authority = Arc::new(Authority::new(Signer::new(&root(), SystemTime::now()).unwrap(), Settings::default()));
    let serving = Serving::new(authority, ServingSettings { cipher_suites: chosen, ..settings() }, None).unwrap();
    let config = serving.configs().secured.borrow().clone();
    let suites: Vec<String> = config.crypto_provider().cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
    let old: Vec<&String> = suites.iter().filter(|suite| suite.starts_with("TLS_")).collect();
    assert_eq!(old, ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]);
    assert_eq!(suites.len(), old.len() + 3, "those of TLS 1.3 stay");
    for wrong in ["", "TLS_RSA_WITH_AES_128_CBC_SHA", "tls_aes_128_gcm_sha256"] {
        assert!(suite(wrong).unwrap_err().to_string().contains("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));
    }
}
