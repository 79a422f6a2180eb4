//! TLS of a server in a Gateway or Sidecar (Istio's `validateTLSOptions`).

use crate::report::{Field, Report, each};
use base::tls::{CIPHER_SUITES, CURVES};
use istio_api::networking::gateway::{ServerTlsMode, ServerTlsSettings, TlsProtocol};
use std::collections::BTreeSet;

pub(crate) fn validate(report: &mut Report, at: &Field<'_>, tls: &ServerTlsSettings) {
    cipher_suites(report, at, tls);
    versions(report, at, tls);
    hashes(report, at, tls);
    match tls.mode {
        ServerTlsMode::IstioMutual => no_certificates(report, at, tls),
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            if certificates(tls).iter().any(|(_, _, set)| *set) {
                report.warning(at, format!("{} mode does not use certificates, they will be ignored", tls.mode.as_str()));
            }
        }
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => terminated(report, at, tls),
    }
}

fn cipher_suites(report: &mut Report, at: &Field<'_>, tls: &ServerTlsSettings) {
    let invalid: Vec<&str> = tls.cipher_suites.iter().map(String::as_str).filter(|suite| !CIPHER_SUITES.contains(suite)).collect();
    if !invalid.is_empty() {
        report.warning(&at.key("cipherSuites"), format!("ignoring invalid cipher suites: [{}]", invalid.join(" ")));
    }
    let mut seen = BTreeSet::new();
    let duplicates: Vec<&str> = tls.cipher_suites.iter().map(String::as_str).filter(|suite| !seen.insert(*suite)).collect();
    if !duplicates.is_empty() {
        report.warning(&at.key("cipherSuites"), format!("ignoring duplicate cipher suites: [{}]", duplicates.join(" ")));
    }
    let unknown: Vec<&str> = tls.ecdh_curves.iter().map(String::as_str).filter(|curve| !CURVES.contains(curve)).collect();
    if !unknown.is_empty() {
        report.warning(&at.key("ecdhCurves"), format!("ignoring unknown curves: [{}]; known are {}", unknown.join(" "), CURVES.join(", ")));
    }
}

fn versions(report: &mut Report, at: &Field<'_>, tls: &ServerTlsSettings) {
    let (least, greatest) = (tls.min_protocol_version, tls.max_protocol_version);
    if greatest != TlsProtocol::Auto && least > greatest {
        report.error(&at.key("maxProtocolVersion"), "TLS max protocol version must not be lower than the min protocol version");
    }
    if matches!(least, TlsProtocol::V1_0 | TlsProtocol::V1_1) && tls.cipher_suites.is_empty() {
        report.warning(
            &at.key("minProtocolVersion"),
            "TLS version below TLSV1_2 require setting compatible ciphers as by default they no longer include compatible ciphers.",
        );
    }
}

fn hashes(report: &mut Report, at: &Field<'_>, tls: &ServerTlsSettings) {
    each(report, at, "verifyCertificateHash", &tls.verify_certificate_hash, |report, at, hash| {
        let digits = hash.bytes().filter(u8::is_ascii_hexdigit).count();
        let others = hash.bytes().filter(|b| !b.is_ascii_hexdigit() && *b != b':').count();
        if digits != 64 || others != 0 {
            report.error(at, "must be a SHA-256 in 64 hex digits, with or without colons");
        }
    });
    each(report, at, "verifyCertificateSpki", &tls.verify_certificate_spki, |report, at, hash| {
        if hash.len() != 44 {
            report.error(at, "must be a SHA-256 in base64, which has 44 characters");
        }
    });
}

/// Field, name in messages and whether it is set, of everything that names a certificate.
fn certificates(tls: &ServerTlsSettings) -> [(&'static str, &'static str, bool); 7] {
    [
        ("serverCertificate", "server certificate", !tls.server_certificate.is_empty()),
        ("privateKey", "private key", !tls.private_key.is_empty()),
        ("caCertificates", "CA bundle", !tls.ca_certificates.is_empty()),
        ("caCrl", "CA CRL", !tls.ca_crl.is_empty()),
        ("credentialName", "credentialName", !tls.credential_name.is_empty()),
        ("credentialNames", "credentialNames", !tls.credential_names.is_empty()),
        ("tlsCertificates", "tlsCertificates", !tls.tls_certificates.is_empty()),
    ]
}

fn no_certificates(report: &mut Report, at: &Field<'_>, tls: &ServerTlsSettings) {
    for (field, name, _) in certificates(tls).iter().filter(|(_, _, set)| *set) {
        report.error(&at.key(field), format!("ISTIO_MUTUAL TLS cannot have associated {name}"));
    }
}

/// Where the certificates of a terminated connection come from.
fn terminated(report: &mut Report, at: &Field<'_>, tls: &ServerTlsSettings) {
    let by_secret = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    let by_files = !tls.server_certificate.is_empty() && !tls.private_key.is_empty();
    let sources = [!tls.credential_name.is_empty(), !tls.credential_names.is_empty(), by_files, !tls.tls_certificates.is_empty()];
    if sources.iter().filter(|set| **set).count() > 1 {
        report.error(
            at,
            "only one of credential_name, credential_names, server_certificate/private_key, tls_certificates should be specified",
        );
        return;
    }
    for (field, count) in [("credentialNames", tls.credential_names.len()), ("tlsCertificates", tls.tls_certificates.len())] {
        if count > 2 {
            report.error(&at.key(field), format!("{field} can have two entries at most, one RSA and one ECDSA, found {count}"));
        }
    }
    if by_secret {
        return;
    }
    let asks_client = tls.mode != ServerTlsMode::Simple;
    let mode = if asks_client { "MUTUAL" } else { "SIMPLE" };
    if tls.tls_certificates.is_empty() {
        pair(report, at, mode, &tls.server_certificate, &tls.private_key);
    }
    each(report, at, "tlsCertificates", &tls.tls_certificates, |report, at, certificate| {
        pair(report, at, mode, &certificate.server_certificate, &certificate.private_key);
    });
    let authority = !tls.ca_certificates.is_empty()
        || !tls.ca_cert_credential_name.is_empty()
        || !tls.tls_certificates.is_empty() && tls.tls_certificates.iter().all(|certificate| !certificate.ca_certificates.is_empty());
    if asks_client && !authority {
        report.error(&at.key("caCertificates"), "MUTUAL TLS requires a client CA bundle");
    }
}

fn pair(report: &mut Report, at: &Field<'_>, mode: &str, certificate: &str, key: &str) {
    if certificate.is_empty() {
        report.error(&at.key("serverCertificate"), format!("{mode} TLS requires a server certificate"));
    }
    if key.is_empty() {
        report.error(&at.key("privateKey"), format!("{mode} TLS requires a private key"));
    }
}
