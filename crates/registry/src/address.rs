//! Stable automatic addresses for services without one.

use base::{Hostname, Namespace};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses in Istio's ranges 240.240.0.0/16 and 2001:2::/48, derived from the namespace and the host name alone, so
/// that no address ever moves to another host because a third was added.
pub fn automatic(namespace: &Namespace, hostname: &Hostname) -> Vec<IpAddr> {
    let hash = fnv1a(format!("{namespace}/{hostname}").as_bytes());
    // The first and the last address of the range are left out.
    let low = u16::try_from(hash % 65_534 + 1).unwrap_or(1);
    let [a, b] = low.to_be_bytes();
    let v6 = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0xf0f0, low);
    vec![IpAddr::V4(Ipv4Addr::new(240, 240, a, b)), IpAddr::V6(v6)]
}

/// FNV-1a, 64 bits: small, stable across versions and machines.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
