use super::*;
use istio_api::{Metadata, scalar::Bytes};
use rcgen::{CertificateParams, KeyPair};

fn secret(entries: &[(&str, &str)]) -> Arc<Object<Secret>> {
    let data = entries.iter().map(|(name, text)| ((*name).to_owned(), Bytes(text.as_bytes().to_vec()))).collect();
    Arc::new(Object { metadata: Metadata::default(), spec: Secret { data, ..Secret::default() }, status: Default::default() })
}

fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (CertificateParams::default().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn every_spelling_of_a_pair() {
    let (certificate, key) = pair();
    for (first, second) in PAIRS {
        let credential = Credential::read(&secret(&[(first, &certificate), (second, &key)]));
        assert_eq!(credential.certificate(), Ok((certificate.as_bytes(), key.as_bytes())));
    }
}

#[test]
fn what_envoy_would_refuse_is_told() {
    let ((certificate, key), (_, other)) = (pair(), pair());
    let damaged = certificate.replace("MII", "MIA");
    for (certificate, key, part) in [
        (certificate.as_str(), other.as_str(), "tls.key is not the key of tls.crt"),
        ("", &key, "no certificate"),
        (&damaged, &key, "tls.crt"),
        (&certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not supported"),
        (&certificate, "", "no private key"),
    ] {
        let credential = Credential::read(&secret(&[("tls.crt", certificate), ("tls.key", key)]));
        let error = credential.certificate().unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    assert!(Credential::read(&secret(&[("tls.crt", &certificate)])).certificate().is_err());
    assert!(Credential::read(&secret(&[("ca.crt", "nothing")])).authorities().is_err());
    assert!(Credential::read(&secret(&[("ca.crt", &certificate), ("ca.crl", "nothing")])).authorities().is_err());
    assert_eq!(Credential::read(&secret(&[("cacert", &certificate)])).authorities().unwrap().certificates, certificate.as_bytes());
}

#[test]
fn references() {
    let parse = |text| CredentialReference::parse(text).map(|reference| (reference.namespace, reference.name));
    assert_eq!(parse("shop"), Some((None, "shop")));
    assert_eq!(parse("kubernetes://shop"), Some((None, "shop")));
    assert_eq!(parse("a/shop"), Some((Some("a"), "shop")));
    assert_eq!(parse("kubernetes-gateway://a/shop"), Some((Some("a"), "shop")));
    for text in ["", "sds://shop", "builtin://", "configmap://a/b", "invalid://a/b", "/shop", "a/"] {
        assert_eq!(parse(text), None, "{text}");
    }
}
