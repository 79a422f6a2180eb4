//! Where a listener listens.

use super::names;
use base::PortNumber;
use std::{net::IpAddr, sync::Arc};
use xds_api::envoy::config::core::v3::{
    Address, Pipe, SocketAddress, address,
    socket_address::{PortSpecifier, Protocol},
};
use xds_api::envoy::config::listener::v3::AdditionalAddress;

/// An address of a listener.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bind {
    /// Addresses with one port.
    Ip {
        /// The first address, which names the listener.
        address: IpAddr,
        /// Addresses of the other IP family, for proxies that have both.
        additional: Vec<IpAddr>,
        /// The port.
        port: PortNumber,
    },
    /// A Unix socket.
    Unix {
        /// Its path, without `unix://`.
        path: Arc<str>,
        /// The port of the user's object, only for the name.
        port: PortNumber,
    },
}

impl Bind {
    /// One address.
    pub fn ip(address: IpAddr, port: PortNumber) -> Self {
        Self::Ip { address, additional: Vec::new(), port }
    }

    /// The name of a listener there.
    pub fn listener_name(&self) -> String {
        match self {
            Self::Ip { address, port, .. } => names::listener(*address, *port),
            Self::Unix { path, port } => names::unix_listener(path, *port),
        }
    }

    /// The port, or that of the user's object for a socket.
    pub fn port(&self) -> PortNumber {
        match self {
            Self::Ip { port, .. } | Self::Unix { port, .. } => *port,
        }
    }

    pub(super) fn address(&self) -> Address {
        match self {
            Self::Ip { address, port, .. } => socket_address(*address, *port),
            Self::Unix { path, .. } => {
                Address { address: Some(address::Address::Pipe(Pipe { path: path.as_ref().to_owned(), ..Pipe::default() })) }
            }
        }
    }

    /// The same for datagrams.
    pub(super) fn udp_address(&self) -> Address {
        let mut address = self.address();
        if let Some(address::Address::SocketAddress(socket)) = &mut address.address {
            socket.protocol = Protocol::Udp.into();
        }
        address
    }

    pub(super) fn additional_addresses(&self) -> Vec<AdditionalAddress> {
        match self {
            Self::Unix { .. } => Vec::new(),
            Self::Ip { additional, port, .. } => additional
                .iter()
                .map(|ip| AdditionalAddress { address: Some(socket_address(*ip, *port)), ..AdditionalAddress::default() })
                .collect(),
        }
    }
}

fn socket_address(ip: IpAddr, port: PortNumber) -> Address {
    let socket =
        SocketAddress { address: ip.to_string(), port_specifier: Some(PortSpecifier::PortValue(port.into())), ..SocketAddress::default() };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}
