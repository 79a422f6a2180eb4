//! Which listener takes a connection, and what its listener filters find out about it.

use crate::call::{Call, Direction, Protocol, Security};
use crate::resources::Resources;
use xds_api::envoy::config::{
    core::v3::{SocketAddress, address::Address, socket_address::PortSpecifier},
    listener::v3::{Listener, ListenerFilterChainMatchPredicate, listener_filter::ConfigType, listener_filter_chain_match_predicate::Rule},
};

/// The port to which what leaves a workload is redirected.
const OUTBOUND_CAPTURE_PORT: u32 = 15001;
/// The port to which what comes to a workload is redirected.
const INBOUND_CAPTURE_PORT: u32 = 15006;

/// The listener that takes the call. Behind a redirection that is the one of the original destination, if the capturing
/// listener asks for it (`use_original_dst`).
pub fn choose<'a>(resources: &'a Resources, call: &Call) -> Option<&'a Listener> {
    let captured = match call.direction {
        Direction::Direct => return bound(resources, call, true),
        Direction::Outbound => capture(resources, OUTBOUND_CAPTURE_PORT)?,
        Direction::Inbound => capture(resources, INBOUND_CAPTURE_PORT)?,
    };
    let hands_over = captured.use_original_dst.is_some_and(|value| value.value);
    let original = hands_over.then(|| bound(resources, call, false)).flatten();
    Some(original.unwrap_or(captured))
}

/// The listener at exactly the address, else at the wildcard address of the same port.
fn bound<'a>(resources: &'a Resources, call: &Call, to_port: bool) -> Option<&'a Listener> {
    let listeners =
        || resources.listeners.values().filter(move |listener| !to_port || listener.bind_to_port.is_none_or(|value| value.value));
    let exact = call.address.to_string();
    let wildcard = if call.address.is_ipv4() { "0.0.0.0" } else { "::" };
    let at = |address: &str| listeners().find(|listener| sockets(listener).any(|socket| is_at(socket, address, u32::from(call.port))));
    at(&exact).or_else(|| at(wildcard))
}

fn capture(resources: &Resources, port: u32) -> Option<&Listener> {
    resources.listeners.values().find(|listener| sockets(listener).any(|socket| port_of(socket) == port))
}

fn sockets(listener: &Listener) -> impl Iterator<Item = &SocketAddress> {
    let additional = listener.additional_addresses.iter().filter_map(|additional| additional.address.as_ref());
    listener.address.iter().chain(additional).filter_map(|address| match &address.address {
        Some(Address::SocketAddress(socket)) => Some(socket),
        _ => None,
    })
}

fn is_at(socket: &SocketAddress, address: &str, port: u32) -> bool {
    socket.address == address && port_of(socket) == port
}

fn port_of(socket: &SocketAddress) -> u32 {
    match socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => port,
        _ => 0,
    }
}

/// What the filters of a listener have found out; filter chains are chosen by it.
#[derive(Clone, PartialEq, Debug)]
pub struct Inspected<'a> {
    /// `tls` or `raw_buffer`.
    pub transport_protocol: &'static str,
    /// Of the TLS handshake, or of the HTTP preface.
    pub application_protocols: Vec<&'a str>,
    /// Of the TLS handshake.
    pub server_name: &'a str,
}

/// Runs the TLS and the HTTP inspector, where the listener has them and they are not disabled for the call.
pub fn inspect<'a>(listener: &Listener, call: &'a Call) -> Inspected<'a> {
    let plain = Inspected { transport_protocol: "raw_buffer", application_protocols: Vec::new(), server_name: "" };
    match (call.security, call.protocol) {
        (Security::Plaintext, Protocol::Tcp) => plain,
        (Security::Plaintext, protocol) if has_filter(listener, "http_inspector", call) => {
            let protocol = if protocol == Protocol::Http2 { "h2c" } else { "http/1.1" };
            Inspected { application_protocols: vec![protocol], ..plain }
        }
        (Security::Plaintext, _) => plain,
        _ if has_filter(listener, "tls_inspector", call) => Inspected {
            transport_protocol: "tls",
            application_protocols: call.application_protocols.iter().map(String::as_str).collect(),
            server_name: &call.server_name,
        },
        _ => plain,
    }
}

/// Whether the listener has a filter whose configuration is of the package `package`, active for the call.
fn has_filter(listener: &Listener, package: &str, call: &Call) -> bool {
    let part = format!(".{package}.");
    listener.listener_filters.iter().any(|filter| {
        let named = matches!(&filter.config_type, Some(ConfigType::TypedConfig(any)) if any.type_url.contains(&part));
        named && !filter.filter_disabled.as_ref().is_some_and(|predicate| holds(predicate, call))
    })
}

fn holds(predicate: &ListenerFilterChainMatchPredicate, call: &Call) -> bool {
    match &predicate.rule {
        Some(Rule::AnyMatch(value)) => *value,
        Some(Rule::NotMatch(inner)) => !holds(inner, call),
        Some(Rule::OrMatch(set)) => set.rules.iter().any(|rule| holds(rule, call)),
        Some(Rule::AndMatch(set)) => set.rules.iter().all(|rule| holds(rule, call)),
        Some(Rule::DestinationPortRange(range)) => (range.start..range.end).contains(&i32::from(call.port)),
        None => false,
    }
}
