//! What is asked: one connection, and the first request on it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// How the connection reaches the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// The workload calls out, and the call is redirected to the outbound capture port.
    #[default]
    Outbound,
    /// Somebody calls the workload, and the call is redirected to the inbound capture port.
    Inbound,
    /// The client calls the listener itself: a gateway, or a sidecar without interception.
    Direct,
}

/// What is spoken on the connection, inside TLS if there is TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2, with prior knowledge where there is no TLS.
    Http2,
    /// Anything else.
    Tcp,
}

/// What the client encrypts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Security {
    /// Nothing.
    #[default]
    Plaintext,
    /// TLS, with the server's certificate alone.
    Tls,
    /// TLS with a certificate of the client.
    MutualTls,
}

/// One call.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// How it reaches the proxy.
    pub direction: Direction,
    /// Where the client connects to, before any redirection.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// Where the client connects from.
    pub source: IpAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// What it is encrypted with.
    pub security: Security,
    /// The server name of the TLS handshake; empty for none.
    pub server_name: String,
    /// The application protocols of the TLS handshake, in the order of the client's preference.
    pub application_protocols: Vec<String>,
    /// The method of the request.
    pub method: String,
    /// `Host` of HTTP/1.1, `:authority` of HTTP/2.
    pub authority: String,
    /// With the query.
    pub path: String,
    /// The identity in the client's certificate, `spiffe://…`; empty for none.
    pub principal: String,
    /// Seconds since the epoch, for the expiry of tokens; without it none expires.
    pub now: Option<u64>,
    /// Other headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
}

impl Default for Call {
    /// `GET /` in plaintext HTTP/1.1, from and to an unspecified address.
    fn default() -> Self {
        Self {
            direction: Direction::default(),
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 0,
            source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            protocol: Protocol::default(),
            security: Security::default(),
            server_name: String::new(),
            application_protocols: Vec::new(),
            method: "GET".to_owned(),
            authority: String::new(),
            path: "/".to_owned(),
            principal: String::new(),
            now: None,
            headers: BTreeMap::new(),
        }
    }
}

impl Call {
    /// The path without its query.
    pub(crate) fn path_only(&self) -> &str {
        self.path.split(['?', '#']).next().unwrap_or_default()
    }

    /// The query with its question mark; empty if there is none.
    pub(crate) fn query(&self) -> &str {
        self.path.find('?').and_then(|at| self.path.get(at..)).unwrap_or_default()
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.security == Security::Plaintext { "http" } else { "https" }
    }

    /// A header or pseudo header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        match name {
            ":method" => Some(&self.method),
            ":authority" | "host" => Some(&self.authority),
            ":path" => Some(&self.path),
            ":scheme" => Some(self.scheme()),
            name => self.headers.get(&name.to_ascii_lowercase()).map(String::as_str),
        }
    }
}
