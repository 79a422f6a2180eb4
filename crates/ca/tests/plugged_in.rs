//! CAs of the operator's own: every spelling of a key, and every mistake found at the start.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod mesh;

use aws_lc_rs::{
    encoding::{AsDer, EcPrivateKeyRfc5915Der},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use ca::{AuthorityError, KeyMaterial, PluggedIn, Signer, pem};
use mesh::{intermediate, root};
use rcgen::{KeyPair, RsaKeySize};
use std::{
    path::Path,
    time::{Duration, SystemTime},
};

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

fn signer(material: &KeyMaterial) -> Result<Signer, AuthorityError> {
    Signer::new(material, SystemTime::now())
}

#[test]
fn every_spelling_of_a_key() {
    let ecdsa = root();
    let der = KeyPair::from_pem(&ecdsa.key).unwrap().serialize_der();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der).unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    let sec1 = pem::encode("EC PRIVATE KEY", sec1.as_ref());
    // As `openssl ecparam -genkey` writes it.
    let with_parameters = format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{sec1}");
    for key in [ecdsa.key.clone(), sec1, with_parameters] {
        signer(&KeyMaterial { key, ..ecdsa.clone() }).unwrap();
    }
    let algorithm = ca::KeyAlgorithm::rsa(2048).unwrap();
    let rsa = ca::generate("cluster.local", algorithm, Duration::from_secs(3_600), SystemTime::now()).unwrap();
    let der = KeyPair::from_pem(&rsa.key).unwrap().serialize_der();
    // PKCS#8 has 26 bytes before the PKCS#1 of an RSA key of this size.
    let pkcs1 = pem::encode("RSA PRIVATE KEY", &der[26..]);
    for key in [rsa.key.clone(), pkcs1] {
        signer(&KeyMaterial { key, ..rsa.clone() }).unwrap();
    }
}

#[test]
fn both_layouts_of_files() {
    let top = root();
    let middle = intermediate(&top);
    let istio = tempfile::tempdir().unwrap();
    let names = [
        ("ca-cert.pem", &middle.certificate),
        ("ca-key.pem", &middle.key),
        ("root-cert.pem", &top.roots),
        ("cert-chain.pem", &middle.chain),
    ];
    write(istio.path(), &names.map(|(name, text)| (name, text.as_str())));
    let kubernetes = tempfile::tempdir().unwrap();
    write(kubernetes.path(), &[("tls.crt", &middle.chain), ("tls.key", &middle.key), ("ca.crt", &top.roots)]);
    for folder in [istio, kubernetes] {
        let loaded = signer(&PluggedIn::new(folder.path().to_owned()).load().unwrap().unwrap()).unwrap();
        assert_eq!(loaded.intermediates, vec![middle.certificate.clone()], "without the root that ends cert-chain.pem");
        assert_eq!(loaded.bundle.pem, top.roots);
    }
    assert!(PluggedIn::new("/nowhere".into()).load().unwrap().is_none());
}

#[test]
fn files_that_are_missing_are_named() {
    let material = root();
    let all = [("ca-cert.pem", &material.certificate), ("ca-key.pem", &material.key), ("root-cert.pem", &material.roots)];
    for missing in ["ca-cert.pem", "ca-key.pem", "root-cert.pem"] {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in all.iter().filter(|(name, _)| *name != missing) {
            write(folder.path(), &[(name, text.as_str())]);
        }
        let error = PluggedIn::new(folder.path().to_owned()).load().unwrap_err().to_string();
        assert!(error.contains(&format!("{missing} is not")), "{error}");
    }
}

#[test]
fn mistakes_are_found_before_anything_is_signed() {
    let (one, other) = (root(), root());
    let mixed = KeyMaterial { key: other.key.clone(), ..one.clone() };
    assert!(matches!(signer(&mixed), Err(AuthorityError::KeyMismatch)));
    let foreign = KeyMaterial { roots: other.roots.clone(), ..one.clone() };
    assert!(matches!(signer(&foreign), Err(AuthorityError::Untrusted)));
    let later = SystemTime::now() + Duration::from_secs(10 * 86_400);
    assert!(matches!(Signer::new(&one, later), Err(AuthorityError::Expired)));
    let low = intermediate(&intermediate(&one));
    let gap = KeyMaterial { roots: one.roots.clone(), chain: String::new(), ..low };
    assert!(matches!(signer(&gap), Err(AuthorityError::Untrusted)), "an intermediate between is missing");
    let weak = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    assert!(matches!(signer(&KeyMaterial { key: weak.serialize_pem(), ..one.clone() }), Err(AuthorityError::KeyMismatch)));
    assert!(signer(&KeyMaterial { certificate: "nothing".into(), ..one }).is_err());
}
