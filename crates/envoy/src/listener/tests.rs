use super::*;
use crate::filter::network::http_connection_manager::HttpOptions;
use crate::filter::network::tcp_proxy::TcpDestinations;
use crate::tls::raw_buffer;
use base::Protocol;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use xds_api::Wire;
use xds_api::envoy::config::core::v3::TransportSocket;
use xds_api::envoy::config::listener::v3::{FilterChain, Listener};
use xds_api::envoy::config::route::v3::RouteConfiguration;

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Sockets that can be told apart.
fn certificates() -> Certificates {
    let socket = |name: &str| TransportSocket { name: name.to_owned(), ..raw_buffer() };
    Certificates::Sds { http: socket("http-tls"), tcp: socket("tcp-tls") }
}

fn inbound(port: u16, protocol: InboundProtocol, mode: MutualTlsMode) -> InboundChainInputs {
    let destinations = TcpDestinations::cluster(format!("inbound|{port}||"));
    InboundChainInputs { address: ANY, port, protocol, tls: InboundTls::Mutual(mode), destinations, metadata: None }
}

fn http(grpc_web: bool) -> InboundProtocol {
    InboundProtocol::Http { route: RouteConfiguration::default(), grpc_web }
}

fn sniffed() -> InboundProtocol {
    InboundProtocol::Sniffed { route: RouteConfiguration::default() }
}

fn tcp() -> InboundProtocol {
    InboundProtocol::Tcp { protocol: Protocol::Tcp }
}

/// `<name> <port> <transport> <application protocols> <socket> <last filter>`
fn line(chain: &FilterChain) -> String {
    let condition = chain.filter_chain_match.clone().unwrap_or_default();
    let port = condition.destination_port.map_or_else(|| "-".to_owned(), |port| port.value.to_string());
    let protocols = condition.application_protocols.join(",").replace("istio-http/1.0,istio-http/1.1,istio-h2", "istio-http");
    let socket = chain.transport_socket.as_ref().map_or("-", |socket| socket.name.as_str());
    let filter = chain.filters.last().map_or("-", |filter| filter.name.rsplit('.').next().unwrap_or_default());
    format!("{} {port} {} [{protocols}] {socket} {filter}", chain.name, condition.transport_protocol)
}

fn virtual_inbound_of(chains: &[InboundChainInputs], passthrough: &InboundPassthrough, certificates: &Certificates) -> Listener {
    let options = ProxyOptions::default();
    let bind = Bind::ip(ANY, names::VIRTUAL_INBOUND_PORT);
    virtual_inbound(&VirtualInboundInputs { bind: &bind, chains, passthrough, certificates, transparent: false, options: &options })
}

fn passthrough(mode: MutualTlsMode, port_modes: &[(u16, MutualTlsMode)]) -> InboundPassthrough {
    InboundPassthrough { mode, port_modes: BTreeMap::from_iter(port_modes.iter().copied()), route: RouteConfiguration::default() }
}

/// Of every port its chains, in order, without the names.
fn table(mode: MutualTlsMode, certificates: &Certificates) -> Vec<String> {
    let chains = [inbound(70, tcp(), mode), inbound(80, http(false), mode), inbound(81, sniffed(), mode)];
    let listener = virtual_inbound_of(&chains, &passthrough(MutualTlsMode::Disable, &[]), certificates);
    let served = listener.filter_chains.iter().filter(|chain| chain.name.starts_with("0.0.0.0_"));
    served.map(|chain| line(chain).split_once(' ').map(|(_, rest)| rest.to_owned()).unwrap_or_default()).collect()
}

#[test]
fn chains_of_permissive_ports() {
    let expected = [
        "70 tls [istio,istio-peer-exchange,istio-http] tcp-tls tcp_proxy",
        "70 tls [] - tcp_proxy",
        "70 raw_buffer [] - tcp_proxy",
        "80 tls [istio,istio-peer-exchange,istio-http] http-tls http_connection_manager",
        "80 raw_buffer [] - http_connection_manager",
        "81 tls [istio-http] http-tls http_connection_manager",
        "81 raw_buffer [http/1.1,h2c] - http_connection_manager",
        "81 tls [istio-peer-exchange,istio] tcp-tls tcp_proxy",
        "81 raw_buffer [] - tcp_proxy",
        "81 tls [] - tcp_proxy",
    ];
    assert_eq!(table(MutualTlsMode::Permissive, &certificates()), expected);
}

#[test]
fn chains_of_strict_ports() {
    let expected = [
        "70 tls [] tcp-tls tcp_proxy",
        "80 tls [] http-tls http_connection_manager",
        "81 tls [istio-http] http-tls http_connection_manager",
        "81 tls [] tcp-tls tcp_proxy",
    ];
    assert_eq!(table(MutualTlsMode::Strict, &certificates()), expected);
}

#[test]
fn without_a_certificate_everything_is_plain_or_refused() {
    let plain = [
        "70 raw_buffer [] - tcp_proxy",
        "80 raw_buffer [] - http_connection_manager",
        "81 raw_buffer [http/1.1,h2c] - http_connection_manager",
        "81 raw_buffer [] - tcp_proxy",
    ];
    assert_eq!(table(MutualTlsMode::Disable, &certificates()), plain);
    assert_eq!(table(MutualTlsMode::Permissive, &Certificates::None), plain);
    let refused = ["70  [] - tcp_proxy", "80  [] - tcp_proxy", "81  [] - tcp_proxy"];
    assert_eq!(table(MutualTlsMode::Strict, &Certificates::None), refused);

    let strict = virtual_inbound_of(&[], &passthrough(MutualTlsMode::Strict, &[]), &Certificates::None);
    let all_ports = strict.filter_chains.last().unwrap();
    assert_eq!(all_ports.filter_chain_match, None);
    assert_eq!(all_ports.filters, virtual_outbound::to_cluster("BlackHoleCluster", &Default::default()));
}

#[test]
fn ports_without_a_service_follow_their_own_mode() {
    let chains = [inbound(9090, tcp(), MutualTlsMode::Strict)];
    let modes = [(9000, MutualTlsMode::Disable), (9090, MutualTlsMode::Disable)];
    let listener = virtual_inbound_of(&chains, &passthrough(MutualTlsMode::Strict, &modes), &certificates());
    let expected = [
        "virtualInbound-blackhole 15006  [] - tcp_proxy",
        "virtualInbound-catchall-http - tls [istio-http] http-tls http_connection_manager",
        "virtualInbound - tls [] tcp-tls tcp_proxy",
        "virtualInbound-catchall-http 9000 raw_buffer [http/1.1,h2c] - http_connection_manager",
        "virtualInbound 9000 raw_buffer [] - tcp_proxy",
        "0.0.0.0_9090 9090 tls [] tcp-tls tcp_proxy",
    ];
    assert_eq!(listener.filter_chains.iter().map(line).collect::<Vec<_>>(), expected);
}

/// The ports on which an inspector is off, as JSON.
fn disabled(listener: &Listener, inspector: &str) -> String {
    let filter = listener.listener_filters.iter().find(|filter| filter.name.ends_with(inspector)).unwrap();
    let bytes = filter.filter_disabled.clone().unwrap_or_default().to_bytes();
    xds_wire::json::to_json("envoy.config.listener.v3.ListenerFilterChainMatchPredicate", &bytes).unwrap().to_string()
}

#[test]
fn inspectors_are_off_where_nothing_is_sniffed() {
    let chains = [inbound(3306, tcp(), MutualTlsMode::Disable), inbound(81, sniffed(), MutualTlsMode::Permissive)];
    let listener = virtual_inbound_of(&chains, &passthrough(MutualTlsMode::Permissive, &[]), &certificates());
    let both = r#"{"or_match":{"rules":[{"destination_port_range":{"end":3307,"start":3306}},{"destination_port_range":{"end":15007,"start":15006}}]}}"#;
    assert_eq!(disabled(&listener, "tls_inspector"), both);
    assert_eq!(disabled(&listener, "http_inspector"), both);

    let chains = [inbound(80, http(false), MutualTlsMode::Strict)];
    let listener = virtual_inbound_of(&chains, &passthrough(MutualTlsMode::Disable, &[]), &certificates());
    assert_eq!(disabled(&listener, "tls_inspector"), r#"{"not_match":{"destination_port_range":{"end":81,"start":80}}}"#);
}

fn outbound(bind_to_port: bool, actions: Vec<OutboundAction>, sniff_http10: bool) -> Listener {
    let chains: Vec<_> = actions.into_iter().map(|action| OutboundChain { action, metadata: None }).collect();
    let options = ProxyOptions { http: HttpOptions { sniff_http10, ..HttpOptions::default() }, ..ProxyOptions::default() };
    let fallback = if bind_to_port { OutboundFallback::Close } else { OutboundFallback::Policy(&OutboundPolicy::AllowAny) };
    let bind = Bind::ip(ANY, 80);
    outbound_listener(&OutboundListenerInputs { bind: &bind, bind_to_port, chains: &chains, fallback, options: &options })
}

fn route() -> OutboundAction {
    OutboundAction::Http { route: "80".into(), grpc_web: false, http_proxy: false }
}

fn forward(subnets: &[&str], cluster: &str) -> OutboundAction {
    let subnets = subnets.iter().map(|subnet| subnet.parse().unwrap()).collect();
    OutboundAction::Tcp { subnets, destinations: TcpDestinations::cluster(cluster), protocol: Protocol::Tcp }
}

fn by_name(server_names: &[&str], cluster: &str) -> OutboundAction {
    let server_names = server_names.iter().map(|name| (*name).to_owned()).collect();
    OutboundAction::Tls { server_names, subnets: Vec::new(), destinations: TcpDestinations::cluster(cluster) }
}

fn filter_names(listener: &Listener) -> Vec<&str> {
    listener.listener_filters.iter().map(|filter| filter.name.rsplit('.').next().unwrap_or_default()).collect()
}

#[test]
fn the_rest_of_a_redirected_listener_goes_to_the_policy_or_to_the_chain_without_a_match() {
    let shared = outbound(false, vec![route()], false);
    assert_eq!(line(&shared.filter_chains[0]), " - raw_buffer [http/1.1,h2c] - http_connection_manager");
    assert_eq!(shared.default_filter_chain.as_ref().unwrap().name, "PassthroughFilterChain");
    assert_eq!(filter_names(&shared), ["http_inspector"]);

    let mixed = outbound(false, vec![forward(&[], "db"), route()], true);
    assert_eq!(
        mixed.filter_chains.iter().map(line).collect::<Vec<_>>(),
        [" - raw_buffer [http/1.0,http/1.1,h2c] - http_connection_manager"]
    );
    assert_eq!(mixed.default_filter_chain.unwrap().name, "");

    // Declared TCP alone is not looked at: the server may speak first.
    let opaque = outbound(false, vec![forward(&[], "db")], false);
    assert_eq!((opaque.filter_chains.len(), opaque.default_filter_chain, opaque.listener_filters), (1, None, Vec::new()));
}

#[test]
fn a_lone_http_chain_on_its_own_socket_is_not_sniffed() {
    let bound = outbound(true, vec![route()], false);
    assert_eq!((bound.filter_chains[0].filter_chain_match.clone(), bound.default_filter_chain), (None, None));
    assert_eq!((bound.bind_to_port, bound.listener_filters), (None, Vec::new()));
}

#[test]
fn of_chains_for_the_same_connections_the_first_stays() {
    let listener = outbound(
        false,
        vec![
            by_name(&["a.test", "a.test", "b.test"], "first"),
            by_name(&["b.test", "*.test", "x.*.test"], "second"),
            by_name(&["A.test"], "third"),
            forward(&["10.0.0.1/24"], "fourth"),
            forward(&["10.0.0.2/24"], "fifth"),
        ],
        false,
    );
    let matches = listener.filter_chains.iter().filter_map(|chain| chain.filter_chain_match.as_ref());
    let names: Vec<_> = matches.map(|condition| condition.server_names.join(",")).collect();
    assert_eq!(names, ["a.test,b.test", "*.test", ""]);
    assert_eq!(filter_names(&listener), ["tls_inspector"]);
}

#[test]
fn egress_binds() {
    let (v4, v6): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "::1".parse().unwrap());
    let of = |bind: &str, bound| sidecar_egress_bind(bind, 80, bound, &[ANY], &[v4, v6]).map(|bind| bind.listener_name());
    assert_eq!(of("", false).unwrap(), "0.0.0.0_80");
    assert_eq!(of("", true).unwrap(), "127.0.0.1_80");
    assert_eq!(of("::1", true).unwrap(), "[::1]_80");
    assert_eq!(of("unix:///run/db", true).unwrap(), "unix:///run/db_80");
    assert_eq!(of("localhost", true), None);
}
