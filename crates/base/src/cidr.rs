//! Addresses: an IP, a DNS name or a Unix socket; and ranges of IPs.

use serde::Serialize;
use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

/// A range of IP addresses; a single address is a range of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Cidr(pub ipnet::IpNet);

impl Cidr {
    /// Whether the range is one address.
    pub fn is_host(&self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        Self(address.into())
    }
}

impl FromStr for Cidr {
    type Err = ipnet::AddrParseError;

    /// Accepts `10.0.0.0/8` and `10.0.0.1` (which is `/32`, or `/128` for IPv6).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<IpAddr>() {
            Ok(ip) => Ok(Self(ip.into())),
            Err(_) => text.parse().map(Self),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an endpoint is reached.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A name that Envoy resolves.
    Dns(Arc<str>),
    /// The path of a Unix socket, without `unix://`.
    Unix(Arc<str>),
}

impl Address {
    /// Every text is one of the three; `unix://` marks a socket.
    pub fn parse(text: &str) -> Self {
        if let Some(path) = text.strip_prefix("unix://") {
            return Self::Unix(Arc::from(path));
        }
        match text.parse() {
            Ok(ip) => Self::Ip(ip),
            Err(_) => Self::Dns(Arc::from(text)),
        }
    }
}

impl Address {
    /// Whether nothing is known but that the gateway of its network leads there.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Dns(name) if name.is_empty())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Dns(name) => f.write_str(name),
            Self::Unix(path) => write!(f, "unix://{path}"),
        }
    }
}
