//! What is found out about a call.

use std::fmt;

/// The way of a call as far as it went; what was not reached is empty.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Outcome {
    /// The name of the listener.
    pub listener: String,
    /// The name of the filter chain.
    pub filter_chain: String,
    /// The name of the route configuration.
    pub route_configuration: String,
    /// The name of the virtual host.
    pub virtual_host: String,
    /// The name of the route.
    pub route: String,
    /// The policy that let it in or refused it, `none` if it was refused because none let it in; empty without rules.
    pub policy: String,
    /// The clusters of external authorizers that are asked; they are taken to agree.
    pub asks: Vec<String>,
    /// Where it ends.
    pub end: End,
}

/// Where a call ends.
#[derive(Clone, PartialEq, Debug)]
pub enum End {
    /// At an upstream cluster, or at several by weight.
    Forwarded(Forwarded),
    /// The proxy sends the client elsewhere.
    Redirect {
        /// 301, 302, …
        status: u32,
        /// The `location` header.
        location: String,
    },
    /// The proxy answers itself.
    Response {
        /// The HTTP status.
        status: u32,
        /// The text of the answer.
        body: String,
    },
    /// Nowhere.
    Failure(Failure),
}

impl Default for End {
    fn default() -> Self {
        Self::Failure(Failure::NoListener)
    }
}

/// A call that leaves the proxy.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Forwarded {
    /// The clusters with their weights; a single one has the weight 1.
    pub clusters: Vec<(String, u32)>,
    /// The authority that the upstream sees; empty for TCP.
    pub authority: String,
    /// The path that the upstream sees, with its query; empty for TCP.
    pub path: String,
    /// The clusters that get a copy.
    pub mirrors: Vec<String>,
}

/// Why a call ends nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nothing listens at that address and port.
    NoListener,
    /// The listener has no chain for such a connection; Envoy closes it.
    NoFilterChain,
    /// Several chains are equally good; Envoy would have refused the listener.
    SeveralFilterChains,
    /// TLS on a plaintext HTTP chain, plaintext on a TLS chain, or no client certificate where one is required.
    Tls,
    /// The chain has no certificate, or nothing to check those of clients with; Envoy closes the connection.
    NoCertificate,
    /// The bytes are not HTTP, and the chain wants HTTP.
    NotHttp,
    /// A rule refuses the connection.
    Denied,
    /// The chain names a route configuration that does not exist; Envoy answers 404.
    NoRouteConfiguration,
    /// No virtual host has that host; Envoy answers 404.
    NoVirtualHost,
    /// No route of the virtual host matches; Envoy answers 404.
    NoRoute,
    /// A filter or a choice that is not simulated.
    NotSimulated,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoListener => "no listener",
            Self::NoFilterChain => "no filter chain",
            Self::SeveralFilterChains => "several filter chains",
            Self::Tls => "TLS does not fit",
            Self::NoCertificate => "no certificate",
            Self::NotHttp => "not HTTP",
            Self::Denied => "denied",
            Self::NoRouteConfiguration => "no route configuration",
            Self::NoVirtualHost => "no virtual host",
            Self::NoRoute => "no route",
            Self::NotSimulated => "not simulated",
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded(forwarded) => {
                for (index, (cluster, weight)) in forwarded.clusters.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{cluster} ({weight})")?;
                }
                Ok(())
            }
            Self::Redirect { status, location } => write!(f, "{status} to {location}"),
            Self::Response { status, .. } => write!(f, "an answer {status}"),
            Self::Failure(failure) => write!(f, "{failure}"),
        }
    }
}

impl fmt::Display for Outcome {
    /// The way in one line, for the messages of failed expectations.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.end)?;
        let steps = [
            ("listener", &self.listener),
            ("filter chain", &self.filter_chain),
            ("routes", &self.route_configuration),
            ("virtual host", &self.virtual_host),
            ("route", &self.route),
            ("policy", &self.policy),
        ];
        let steps: Vec<String> = steps.iter().filter(|(_, name)| !name.is_empty()).map(|(step, name)| format!("{step} {name}")).collect();
        if steps.is_empty() { Ok(()) } else { write!(f, " [{}]", steps.join(", ")) }
    }
}
