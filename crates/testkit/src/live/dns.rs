//! The DNS server of a case's network: knows the names of the case, and says of all others that they do not exist.

use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::net::UdpSocket;

/// Answers on the addresses that the system asks; in a network of one's own every address is one's own.
///
/// # Errors
/// If an address cannot be bound.
pub async fn serve(names: &BTreeMap<String, IpAddr>) -> Result<()> {
    let names = Arc::new(names.clone());
    for server in servers() {
        let socket = UdpSocket::bind(SocketAddr::new(server, 53)).await.with_context(|| format!("a DNS server at {server}"))?;
        let names = names.clone();
        tokio::spawn(async move {
            let mut question = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut question).await {
                if let Some(answer) = question.get(..length).and_then(|question| answer(question, &names)) {
                    let _ = socket.send_to(&answer, client).await;
                }
            }
        });
    }
    Ok(())
}

/// The servers of `resolv.conf`, where Envoy's resolver finds them too.
fn servers() -> Vec<IpAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut servers: Vec<IpAddr> =
        text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).filter_map(|address| address.trim().parse().ok()).collect();
    if servers.is_empty() {
        servers.push(Ipv4Addr::LOCALHOST.into());
    }
    servers.retain(IpAddr::is_ipv4);
    servers.dedup();
    servers
}

/// The answer to a question of one name; `None` if it is none.
fn answer(question: &[u8], names: &BTreeMap<String, IpAddr>) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let (mut labels, mut at) = (Vec::new(), HEADER);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(std::str::from_utf8(question.get(at..at + length)?).ok()?.to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
    let asked = question.get(HEADER..at + 4)?;
    let known = names.get(&labels.join("."));
    let address = match known {
        Some(IpAddr::V4(address)) if kind == 1 => address.octets().to_vec(),
        Some(IpAddr::V6(address)) if kind == 28 => address.octets().to_vec(),
        _ => Vec::new(),
    };
    let mut out = question.get(..2)?.to_vec();
    // An answer of a recursive server; code 3 says that there is no such name.
    out.extend([0x81, if known.is_some() { 0x80 } else { 0x83 }]);
    out.extend([0, 1, 0, u8::from(!address.is_empty()), 0, 0, 0, 0]);
    out.extend(asked);
    if !address.is_empty() {
        out.extend([0xc0, 0x0c]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(address.len()).ok()?.to_be_bytes());
        out.extend(address);
    }
    Some(out)
}
