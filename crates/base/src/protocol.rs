//! Where a port name becomes a protocol.
//!
//! Istio's rules (`pkg/config/kube/conversion.go`): UDP first, then `appProtocol`, then the port name up to the first
//! `-`, with `grpc-web` before the split; case does not matter; well-known server-first ports are TCP, everything else
//! that is not said is sniffed.

use serde::Serialize;
use std::fmt;

/// The protocol of a service port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 with prior knowledge, h2c.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC-Web, which a filter bridges.
    GrpcWeb,
    /// An explicit HTTP proxy port.
    HttpProxy,
    /// HTTP over TLS; opaque to a sidecar.
    Https,
    /// TLS, routed by SNI.
    Tls,
    /// Opaque TCP.
    Tcp,
    /// MongoDB, which is TCP with a filter for statistics.
    Mongo,
    /// Redis.
    Redis,
    /// MySQL.
    MySql,
    /// UDP, which the mesh leaves alone.
    Udp,
    /// HBONE tunnels.
    Hbone,
    /// Not said: Envoy looks at the first bytes.
    Unsupported,
}

impl Protocol {
    /// Parses a protocol's name as it stands in `appProtocol`, before the dash of a port name and in ServiceEntry and
    /// Gateway ports. Unknown names are [`Protocol::Unsupported`].
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "http_proxy" => Self::HttpProxy,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            "mongo" => Self::Mongo,
            "redis" => Self::Redis,
            "mysql" => Self::MySql,
            "udp" => Self::Udp,
            "hbone" => Self::Hbone,
            _ => Self::Unsupported,
        }
    }

    /// The protocol of a port of a Kubernetes Service.
    pub fn of_service_port(number: u16, name: &str, transport: &str, app_protocol: Option<&str>) -> Self {
        if transport.eq_ignore_ascii_case("UDP") {
            return Self::Udp;
        }
        let name = match app_protocol {
            Some(app) => match app.to_ascii_lowercase().as_str() {
                "kubernetes.io/h2c" => return Self::Http2,
                "kubernetes.io/ws" => return Self::Http,
                "kubernetes.io/wss" => return Self::Https,
                _ => app,
            },
            None => name,
        };
        let lower = name.to_ascii_lowercase();
        let word = if lower.starts_with("grpc-web") { "grpc-web" } else { lower.split('-').next().unwrap_or_default() };
        match Self::parse(word) {
            Self::Unsupported if app_protocol.is_none() && SERVER_FIRST.contains(&number) => Self::Tcp,
            protocol => protocol,
        }
    }

    /// Routed by HTTP rules in plaintext.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb | Self::HttpProxy)
    }

    /// Spoken as HTTP/2 to the workload.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// TLS that is not terminated by a sidecar.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Opaque bytes, for which TCP routes apply.
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Https | Self::Tls | Self::Mongo | Self::Redis | Self::MySql)
    }

    /// Not said, so that Envoy sniffs.
    pub fn is_unsupported(self) -> bool {
        self == Self::Unsupported
    }

    /// Istio's spelling, `GRPC-Web`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-Web",
            Self::HttpProxy => "HTTP_PROXY",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Mongo => "Mongo",
            Self::Redis => "Redis",
            Self::MySql => "MySQL",
            Self::Udp => "UDP",
            Self::Hbone => "HBONE",
            Self::Unsupported => "UnsupportedProtocol",
        }
    }
}

/// SMTP, DNS, MySQL and MongoDB: the server speaks first, or sniffing would break them.
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_app_protocols() {
        let of = |name, app| Protocol::of_service_port(9000, name, "TCP", app);
        assert_eq!(of("http-web", None), Protocol::Http);
        assert_eq!(of("GRPC-WEB-x", None), Protocol::GrpcWeb);
        assert_eq!(of("grpc", None), Protocol::Grpc);
        assert_eq!(of("web", None), Protocol::Unsupported);
        assert_eq!(of("http", Some("tcp")), Protocol::Tcp);
        assert_eq!(of("x", Some("kubernetes.io/h2c")), Protocol::Http2);
        assert_eq!(Protocol::of_service_port(3306, "db", "TCP", None), Protocol::Tcp);
        assert_eq!(Protocol::of_service_port(53, "http", "UDP", None), Protocol::Udp);
    }
}
