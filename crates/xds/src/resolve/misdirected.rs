//! Requests that come over a connection of another server: a client that has one to `a.example.com` may use it for
//! `b.example.com` too, if the certificate is good for both (RFC 9113 §9.1.1), and so passes by the server of
//! `b.example.com`, its certificates and its rules. Such a request is answered with 421, after which the client connects
//! anew. (Istio answers 404, or lets a rule for a wildcard host take it.)

use base::Hostname;
use istio_api::networking::gateway::ServerTlsSettings;
use model::GatewayServer;
use std::collections::BTreeSet;

/// With more hosts than this, the wildcards above them stand for them: what each of many servers with one certificate lists
/// would otherwise grow with the square of their number.
const LISTED: usize = 64;

/// The hosts of other servers of the port that a client might ask of these; without those that they take themselves
/// (`taken`).
pub fn hosts(all: &[GatewayServer], these: &[&GatewayServer], taken: &BTreeSet<&Hostname>) -> BTreeSet<Hostname> {
    let owned: BTreeSet<&Hostname> = these.iter().flat_map(|server| server.hosts.iter().map(|(_, host)| host)).collect();
    let others =
        all.iter().filter(|other| other.is_http() && other.terminates_tls() && !these.iter().any(|own| std::ptr::eq(*own, *other)));
    let mut hosts: BTreeSet<Hostname> = BTreeSet::new();
    for other in others {
        let shared = these.iter().any(|own| same_certificate(own, other));
        let covered = |host: &Hostname| shared || owned.iter().any(|own| host.subset_of(own));
        hosts.extend(other.hosts.iter().map(|(_, host)| host).filter(|host| covered(host)).cloned());
    }
    if hosts.len() > LISTED {
        hosts = hosts.iter().map(above).collect();
    }
    hosts.retain(|host| !taken.contains(host) && !owned.contains(host));
    hosts
}

fn same_certificate(one: &GatewayServer, other: &GatewayServer) -> bool {
    let certificate = |tls: &ServerTlsSettings| (tls.credential_name.clone(), tls.credential_names.clone(), tls.server_certificate.clone());
    match (&one.server.tls, &other.server.tls) {
        (Some(one), Some(other)) => certificate(one) == certificate(other),
        _ => false,
    }
}

/// `*.example.com` for `a.example.com`; wildcards stay.
fn above(host: &Hostname) -> Hostname {
    match host.as_str().split_once('.') {
        Some((_, domain)) if !host.is_wildcard() => Hostname::new(format!("*.{domain}")),
        _ => host.clone(),
    }
}
