//! Stable automatic addresses for services without one.

use base::{Hostname, Namespace};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many addresses there are: those that end in 255 are left out.
const ADDRESSES: u32 = 255 * 255;

/// Addresses in Istio's ranges 240.240.0.0/16 and 2001:2::/48, derived from the namespace and the host name alone, so
/// that no address ever moves to another host because a third was added. They are those that Istio derives itself (its
/// `autoAllocateIPs`) as long as two names do not meet.
pub fn automatic(namespace: &Namespace, hostname: &Hostname) -> Vec<IpAddr> {
    let hash = fnv1a(format!("{namespace}/{hostname}").as_bytes());
    let place = hash % ADDRESSES + 1;
    let place = if place.is_multiple_of(255) { place + 1 } else { place };
    let octet = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    let (a, b) = (octet(place / 255), octet(place % 255));
    // Istio writes the two octets as hexadecimal digits one after the other, without zeros between them.
    let low = if a == 0 { format!("{b:x}") } else { format!("{a:x}{b:x}") };
    let low = u16::from_str_radix(&low, 16).unwrap_or_default();
    let v6 = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0xf0f0, low);
    vec![IpAddr::V4(Ipv4Addr::new(240, 240, a, b)), IpAddr::V6(v6)]
}

/// FNV-1a, 32 bits.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
