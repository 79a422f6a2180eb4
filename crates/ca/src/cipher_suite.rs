//! Cipher suites of TLS 1.2, by the names that Istio's flag takes (those of Go).

use tokio_rustls::rustls::{
    SupportedCipherSuite,
    crypto::aws_lc_rs::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    },
};

/// A cipher suite of TLS 1.2. Those of TLS 1.3 cannot be chosen, as in Istio.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CipherSuite(pub(crate) SupportedCipherSuite);

/// Each with its names.
static SUITES: [(&[&str], &SupportedCipherSuite); 6] = [
    (&["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"], &TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    (&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], &TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    (&["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"], &TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (&["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"], &TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (
        &["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"],
        &TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        &["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"],
        &TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// A name that is none of a suite that is spoken here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no cipher suite that is spoken; those of TLS 1.2 are {names}, those of TLS 1.3 are always on", names = names())]
pub struct UnknownCipherSuite(pub String);

impl std::str::FromStr for CipherSuite {
    type Err = UnknownCipherSuite;

    fn from_str(name: &str) -> Result<Self, UnknownCipherSuite> {
        let found = SUITES.iter().find(|(names, _)| names.contains(&name.trim()));
        found.map(|(_, suite)| Self(**suite)).ok_or_else(|| UnknownCipherSuite(name.to_owned()))
    }
}

fn names() -> String {
    SUITES.iter().filter_map(|(names, _)| names.first().copied()).collect::<Vec<_>>().join(", ")
}
