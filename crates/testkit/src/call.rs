//! `calls.yaml`: what is called and what must come of it.

use crate::case::{Case, ProxyKind};
use anyhow::{Context, Result, bail};
use http::Version;
use istio_api::AnyObject;
use serde::Deserialize;
use simulation::{Call, Direction, Protocol, Security};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

/// One call with its expectation. Of `goes_to`, `redirects_to`, `responds` and `error` exactly one is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallFile {
    /// `<scheme>://<host>[:<port>][/<path>]`; the schemes are `http`, `http10`, `h2` (HTTP/2 in plaintext), `https`, `h3` (HTTP/3,
    /// which the simulator does not know), `tcp` and `tls` (TCP in TLS).
    pub to: String,
    /// The address that the client connects to. By default that of the host in the input; for a gateway, the gateway's.
    pub at: Option<IpAddr>,
    /// By default outbound for a sidecar and direct for a gateway.
    pub direction: Option<DirectionFile>,
    /// By default GET.
    pub method: Option<String>,
    /// Of the request. `host` overrides the authority of the URL.
    pub headers: BTreeMap<String, String>,
    /// The server name in TLS, by default the host; an empty one sends none.
    pub server_name: Option<String>,
    /// The workload that calls (with `direction: inbound`, that is called), by the name of its proxy; by default that of
    /// the case's proxy.
    pub from: Option<String>,
    /// The name in the client's own certificate, which the authority of the mesh signs: `spiffe://…`.
    pub identity: Option<String>,
    /// The client's own certificate: the name of files `<name>.crt` and `<name>.key` of the case.
    pub client_certificate: Option<String>,
    /// Of the TLS handshake; by default `http/1.1` for `https`, nothing for `tls`.
    pub alpn: Option<Vec<String>>,
    /// A name in the certificate that the client gets. Only a real Envoy presents one.
    pub presents: Option<String>,
    /// How often to call; by default once, or often enough to see shares.
    pub times: Option<u32>,
    /// Whether these calls are made at the same time.
    pub at_once: bool,

    /// The cluster that gets the call, or several with their shares (of 100).
    pub goes_to: Option<GoesTo>,
    /// The cluster of the proxy of another workload, through which the call comes to it. Only real Envoys call each other.
    pub arrives_at: Option<String>,
    /// Clusters of other workloads' proxies through which it may pass before it arrives. A connection that is kept open counts
    /// only once.
    pub passes: Vec<String>,
    /// The clusters of external authorizers that are asked before.
    pub asks: Vec<String>,
    /// The location of a redirect; its status is `status`, or 301.
    pub redirects_to: Option<String>,
    /// The status of an answer by the proxy itself.
    pub responds: Option<u16>,
    /// The name of a failure of the simulator; a real Envoy must give no answer then.
    pub error: Option<String>,
    /// The status of the upstream's answer, or of the redirect.
    pub status: Option<u16>,
    /// How many of the calls have which status.
    pub statuses: BTreeMap<u16, usize>,
    /// How many different endpoints get the calls.
    pub endpoints: Option<usize>,
    /// What the upstream gets.
    pub receives: Option<Receives>,
    /// Headers of the answer; null for one that must be missing. Only a real Envoy sets them.
    pub answers: BTreeMap<String, Option<String>>,
    /// A part of what the proxy then writes to its access log `/dev/stdout`. Only a real Envoy writes one.
    pub logs: Option<String>,
    /// The body of the proxy's own answer.
    pub body: Option<String>,
    /// The clusters that get a copy.
    pub mirrors: Vec<String>,
    /// How long the answer takes: `200ms-2s`. Only a real Envoy takes time.
    pub takes: Option<String>,
    /// How often the upstream is tried. Only a real Envoy tries again.
    pub attempts: Option<u32>,
    /// Why the simulator cannot know.
    pub only_envoy: Option<String>,
}

/// Where a call goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum GoesTo {
    /// To one cluster.
    One(String),
    /// To several, by weight.
    Several(BTreeMap<String, u32>),
}

/// How the call reaches the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DirectionFile {
    /// From the workload.
    Outbound,
    /// To the workload.
    Inbound,
    /// To the listener itself.
    Direct,
}

/// What an upstream gets.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Receives {
    /// The path with its query.
    pub path: Option<String>,
    /// The authority.
    pub host: Option<String>,
    /// Headers; null for one that must be missing.
    pub headers: BTreeMap<String, Option<String>>,
    /// Headers whose whole value a regular expression must match.
    pub matches: BTreeMap<String, String>,
}

/// A URL of `to`, taken apart.
pub struct Target {
    /// `http`, `h2`, `https`, `tcp`, `tls`
    pub scheme: String,
    /// Without the port.
    pub host: String,
    /// The named one, or that of the scheme.
    pub port: u16,
    /// As in the URL: with the port if the URL has one.
    pub authority: String,
    /// With the query; at least `/`.
    pub path: String,
}

impl CallFile {
    /// The version of HTTP, if it is one that the simulator does not tell apart from HTTP/1.1.
    pub fn version(&self) -> Option<Version> {
        match self.to.split_once("://") {
            Some(("http10", _)) => Some(Version::HTTP_10),
            Some(("h3", _)) => Some(Version::HTTP_3),
            _ => None,
        }
    }

    /// The parts of `to`.
    ///
    /// # Errors
    /// If it is no such URL.
    pub fn target(&self) -> Result<Target> {
        let (scheme, rest) = self.to.split_once("://").with_context(|| format!("`to: {}` has no scheme", self.to))?;
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().with_context(|| format!("the port of {}", self.to))?),
            None => (authority, if matches!(scheme, "https" | "h3") { 443 } else { 80 }),
        };
        Ok(Target { scheme: scheme.to_owned(), host: host.to_owned(), port, authority: authority.to_owned(), path: path.to_owned() })
    }

    /// The call for the simulator, and for the client that makes it.
    ///
    /// # Errors
    /// If `to` is no URL or has an unknown scheme.
    pub fn call(&self, case: &Case, names: &Names) -> Result<Call> {
        let target = self.target()?;
        let has_certificate = self.client_certificate.is_some() || self.identity.is_some();
        let encrypted = if has_certificate { Security::MutualTls } else { Security::Tls };
        let (protocol, security) = match target.scheme.as_str() {
            "http" | "http10" => (Protocol::Http, Security::Plaintext),
            "h2" => (Protocol::Http2, Security::Plaintext),
            "https" | "h3" => (Protocol::Http, encrypted),
            "tcp" => (Protocol::Tcp, Security::Plaintext),
            "tls" => (Protocol::Tcp, encrypted),
            other => bail!("`to: {}` has the unknown scheme {other}", self.to),
        };
        let prefers_http2 = self.alpn.as_ref().is_some_and(|alpn| alpn.first().is_some_and(|first| first == "h2"));
        let protocol = if prefers_http2 && protocol == Protocol::Http { Protocol::Http2 } else { protocol };
        let proxy = case.caller(self)?;
        let direction = match self.direction {
            Some(DirectionFile::Outbound) => Direction::Outbound,
            Some(DirectionFile::Inbound) => Direction::Inbound,
            Some(DirectionFile::Direct) => Direction::Direct,
            None if proxy.kind == ProxyKind::Router => Direction::Direct,
            None => Direction::Outbound,
        };
        let address = match (self.at, target.host.parse(), direction) {
            (Some(address), _, _) => address,
            (None, Ok(address), _) => address,
            (None, _, Direction::Outbound) => names.address(&target.host, &proxy.namespace),
            _ => proxy.ip,
        };
        let mut headers: BTreeMap<String, String> =
            self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        let authority = headers.remove("host").unwrap_or(target.authority);
        let encrypted = security != Security::Plaintext;
        let alpn = if encrypted && protocol == Protocol::Http { vec!["http/1.1".to_owned()] } else { Vec::new() };
        Ok(Call {
            direction,
            address,
            port: target.port,
            source: if direction == Direction::Inbound { CALLER.into() } else { CLIENT.into() },
            protocol,
            security,
            server_name: if encrypted { self.server_name.clone().unwrap_or(target.host) } else { String::new() },
            application_protocols: self.alpn.clone().unwrap_or(alpn),
            method: self.method.clone().unwrap_or_else(|| "GET".to_owned()),
            authority,
            path: target.path,
            headers,
            principal: self.identity.clone().unwrap_or_default(),
            ..Call::default()
        })
    }
}

/// Where calls of the workload itself come from.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 10, 200);

/// Where calls to the workload come from.
pub const CALLER: Ipv4Addr = Ipv4Addr::new(127, 0, 10, 201);

/// Where a client ends up that asks DNS for a name that the mesh does not know (TEST-NET-1).
pub const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The addresses of the names in the input, as the DNS of a cluster would give them.
#[derive(Default)]
pub struct Names(BTreeMap<String, IpAddr>);

impl Names {
    /// The names of Services and of ServiceEntries with an address.
    pub fn of<'a>(objects: impl Iterator<Item = &'a AnyObject>) -> Self {
        let mut names = BTreeMap::new();
        for object in objects {
            match object {
                AnyObject::Service(service) => {
                    if let Ok(address) = service.spec.cluster_ip.parse() {
                        names.insert(format!("{}.{}.svc.cluster.local", service.metadata.name, service.metadata.namespace), address);
                    }
                }
                AnyObject::ServiceEntry(entry) => {
                    if let Some(address) = entry.spec.addresses.first().and_then(|address| address.parse().ok()) {
                        names.extend(entry.spec.hosts.iter().map(|host| (host.clone(), address)));
                    }
                }
                _ => {}
            }
        }
        Self(names)
    }

    /// The address of a name, for a client in `namespace`, which tries the search domains of its cluster.
    pub fn address(&self, name: &str, namespace: &str) -> IpAddr {
        let candidates = [
            name.to_owned(),
            format!("{name}.{namespace}.svc.cluster.local"),
            format!("{name}.svc.cluster.local"),
            format!("{name}.cluster.local"),
        ];
        candidates.iter().find_map(|name| self.0.get(name)).copied().unwrap_or(ELSEWHERE.into())
    }
}
