//! Envoy's rules of choosing, one by one, over configuration that is small enough to see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed unwrap is a failed test

use simulation::{Call, Direction, End, Failure, Outcome, Protocol, Resources, Security, simulate};
use xds_api::Wire;
use xds_api::envoy::config::{
    core::v3::{Address, CidrRange, SocketAddress, address, socket_address::PortSpecifier},
    listener::v3::{Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter, listener_filter},
    route::v3::{
        RedirectAction, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, redirect_action::PathRewriteSpecifier,
        route::Action, route_action::ClusterSpecifier, route_match::PathSpecifier,
    },
};
use xds_api::envoy::extensions::filters::{
    listener::tls_inspector::v3::TlsInspector,
    network::{
        http_connection_manager::v3::{HttpConnectionManager, http_connection_manager::RouteSpecifier},
        tcp_proxy::v3::{TcpProxy, tcp_proxy},
    },
};

fn listener(address: &str, port: u32, filter_chains: Vec<FilterChain>) -> Listener {
    let socket = SocketAddress { address: address.to_owned(), port_specifier: Some(PortSpecifier::PortValue(port)), ..Default::default() };
    Listener {
        name: format!("{address}_{port}"),
        address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }),
        filter_chains,
        ..Default::default()
    }
}

/// A chain that ends at the cluster of its own name.
fn chain(name: &str, filter_chain_match: FilterChainMatch) -> FilterChain {
    let proxy = TcpProxy { cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(name.to_owned())), ..Default::default() };
    let filters = vec![Filter { name: "tcp".to_owned(), config_type: Some(filter::ConfigType::TypedConfig(proxy.to_any())) }];
    FilterChain { name: name.to_owned(), filter_chain_match: Some(filter_chain_match), filters, ..Default::default() }
}

fn resources(listeners: Vec<Listener>) -> Resources {
    Resources { listeners: listeners.into_iter().map(|listener| (listener.name.clone(), listener)).collect(), ..Default::default() }
}

fn tcp(direction: Direction, address: &str, port: u16) -> Call {
    Call { direction, address: address.parse().unwrap(), port, protocol: Protocol::Tcp, ..Default::default() }
}

fn cluster(outcome: &Outcome) -> &str {
    match &outcome.end {
        End::Forwarded(forwarded) => &forwarded.clusters[0].0,
        other => panic!("{other}"),
    }
}

#[test]
fn a_captured_call_is_handed_to_the_listener_of_its_destination() {
    let all = |name: &str| vec![chain(name, FilterChainMatch::default())];
    let mut capture = listener("0.0.0.0", 15001, all("elsewhere"));
    capture.use_original_dst = Some(true.into());
    let mesh = resources(vec![capture, listener("10.0.0.1", 80, all("exact")), listener("0.0.0.0", 80, all("wildcard"))]);
    let goes = |address: &str, port: u16| cluster(&simulate(&mesh, &tcp(Direction::Outbound, address, port))).to_owned();
    assert_eq!(goes("10.0.0.1", 80), "exact");
    assert_eq!(goes("10.0.0.2", 80), "wildcard");
    assert_eq!(goes("10.0.0.1", 81), "elsewhere");
    let inbound = simulate(&mesh, &tcp(Direction::Inbound, "10.0.0.1", 80));
    assert_eq!(inbound.end, End::Failure(Failure::NoListener));
}

#[test]
fn a_listener_that_does_not_bind_is_not_called_directly() {
    let mut unbound = listener("0.0.0.0", 80, vec![chain("a", FilterChainMatch::default())]);
    unbound.bind_to_port = Some(false.into());
    let outcome = simulate(&resources(vec![unbound]), &tcp(Direction::Direct, "10.0.0.1", 80));
    assert_eq!(outcome.end, End::Failure(Failure::NoListener));
}

#[test]
fn filter_chains_are_chosen_step_by_step_without_going_back() {
    let range = |prefix: &str, length: u32| vec![CidrRange { address_prefix: prefix.to_owned(), prefix_len: Some(length.into()) }];
    let chains = vec![
        chain("port", FilterChainMatch { destination_port: Some(81.into()), transport_protocol: "tls".to_owned(), ..Default::default() }),
        chain("wide", FilterChainMatch { prefix_ranges: range("10.0.0.0", 8), ..Default::default() }),
        chain("narrow", FilterChainMatch { prefix_ranges: range("10.1.0.0", 16), ..Default::default() }),
        chain("any", FilterChainMatch::default()),
    ];
    let mut all = listener("0.0.0.0", 80, chains.clone());
    let goes = |listener: &Listener, address: &str, port: u16| {
        let mut listener = listener.clone();
        listener.address = Some(address_of(port));
        simulate(&resources(vec![listener]), &tcp(Direction::Direct, address, port))
    };
    assert_eq!(cluster(&goes(&all, "10.2.0.1", 80)), "wide");
    assert_eq!(cluster(&goes(&all, "10.1.0.1", 80)), "narrow");
    assert_eq!(cluster(&goes(&all, "192.0.2.1", 80)), "any");
    // The chain of the port wins first, and then its transport protocol does not fit: Envoy does not try the others.
    assert_eq!(goes(&all, "10.1.0.1", 81).end, End::Failure(Failure::NoFilterChain));
    all.default_filter_chain = Some(chain("default", FilterChainMatch::default()));
    assert_eq!(cluster(&goes(&all, "10.1.0.1", 81)), "default");
}

fn address_of(port: u16) -> Address {
    let specifier = Some(PortSpecifier::PortValue(port.into()));
    let socket = SocketAddress { address: "0.0.0.0".to_owned(), port_specifier: specifier, ..Default::default() };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}

#[test]
fn server_names_are_exact_then_longest_wildcard_and_need_the_inspector() {
    let named = |name: &str| chain(name, FilterChainMatch { server_names: vec![name.to_owned()], ..Default::default() });
    let mut secure = listener("0.0.0.0", 443, vec![named("a.example.com"), named("*.example.com"), named("*.com")]);
    let call = |server_name: &str| Call {
        security: Security::Tls,
        server_name: server_name.to_owned(),
        ..tcp(Direction::Direct, "10.0.0.1", 443)
    };
    let without = simulate(&resources(vec![secure.clone()]), &call("a.example.com"));
    assert_eq!(without.end, End::Failure(Failure::NoFilterChain));
    let config = listener_filter::ConfigType::TypedConfig(TlsInspector::default().to_any());
    secure.listener_filters = vec![ListenerFilter { name: "tls".to_owned(), config_type: Some(config), ..Default::default() }];
    let mesh = resources(vec![secure]);
    for (server_name, wanted) in [("A.example.com", "a.example.com"), ("b.a.example.com", "*.example.com"), ("other.com", "*.com")] {
        assert_eq!(cluster(&simulate(&mesh, &call(server_name))), wanted);
    }
}

fn route(path: PathSpecifier, action: Action) -> Route {
    let matched = RouteMatch { path_specifier: Some(path), ..Default::default() };
    Route { r#match: Some(matched), action: Some(action), ..Default::default() }
}

fn to(cluster: &str) -> Action {
    Action::Route(RouteAction { cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())), ..Default::default() })
}

fn web(routes: RouteConfiguration) -> Resources {
    let manager = HttpConnectionManager { route_specifier: Some(RouteSpecifier::RouteConfig(routes)), ..Default::default() };
    let filters = vec![Filter { name: "http".to_owned(), config_type: Some(filter::ConfigType::TypedConfig(manager.to_any())) }];
    resources(vec![listener("0.0.0.0", 80, vec![FilterChain { filters, ..Default::default() }])])
}

fn get(authority: &str, path: &str) -> Call {
    let call = tcp(Direction::Direct, "10.0.0.1", 80);
    Call { protocol: Protocol::Http, authority: authority.to_owned(), path: path.to_owned(), ..call }
}

#[test]
fn virtual_hosts_are_exact_then_longest_suffix_then_longest_prefix_then_any() {
    let domains = ["a.example.com", "*.example.com", "*.com", "a.*", "a.b.*", "*"];
    let virtual_hosts = domains.map(|domain| VirtualHost {
        name: domain.to_owned(),
        domains: vec![domain.to_owned()],
        routes: vec![route(PathSpecifier::Prefix("/".to_owned()), to(domain))],
        ..Default::default()
    });
    let mut routes = RouteConfiguration { virtual_hosts: virtual_hosts.to_vec(), ..Default::default() };
    let mesh = web(routes.clone());
    let cases = [
        ("A.Example.com", "a.example.com"),
        ("b.example.com", "*.example.com"),
        ("x.com", "*.com"),
        ("a.org", "a.*"),
        ("a.b.c", "a.b.*"),
        ("z", "*"),
    ];
    for (authority, wanted) in cases {
        assert_eq!(cluster(&simulate(&mesh, &get(authority, "/"))), wanted, "{authority}");
    }
    // A port counts, unless the route configuration ignores it.
    assert_eq!(cluster(&simulate(&mesh, &get("a.example.com:80", "/"))), "a.*");
    routes.ignore_port_in_host_matching = true;
    assert_eq!(cluster(&simulate(&web(routes), &get("a.example.com:80", "/"))), "a.example.com");
}

#[test]
fn the_first_route_that_matches_is_taken() {
    let routes = vec![
        route(PathSpecifier::Path("/exact".to_owned()), to("exact")),
        route(PathSpecifier::PathSeparatedPrefix("/element".to_owned()), to("element")),
        route(PathSpecifier::Prefix("/text".to_owned()), to("text")),
    ];
    let host = VirtualHost { domains: vec!["*".to_owned()], routes, ..Default::default() };
    let mesh = web(RouteConfiguration { virtual_hosts: vec![host], ..Default::default() });
    for (path, wanted) in [("/exact?query", "exact"), ("/element", "element"), ("/element/x", "element"), ("/textual", "text")] {
        assert_eq!(cluster(&simulate(&mesh, &get("h", path))), wanted, "{path}");
    }
    for path in ["/exactly", "/elements", "/"] {
        assert_eq!(simulate(&mesh, &get("h", path)).end, End::Failure(Failure::NoRoute), "{path}");
    }
}

#[test]
fn a_redirect_keeps_what_it_does_not_replace() {
    let redirect = RedirectAction {
        path_rewrite_specifier: Some(PathRewriteSpecifier::PrefixRewrite("/new".to_owned())),
        port_redirect: 8443,
        ..Default::default()
    };
    let routes = vec![route(PathSpecifier::Prefix("/old".to_owned()), Action::Redirect(redirect))];
    let host = VirtualHost { domains: vec!["*".to_owned()], routes, ..Default::default() };
    let mesh = web(RouteConfiguration { virtual_hosts: vec![host], ..Default::default() });
    let End::Redirect { status, location } = simulate(&mesh, &get("shop.test:80", "/old/a?b")).end else { panic!("no redirect") };
    assert_eq!((status, location.as_str()), (301, "http://shop.test:8443/new/a?b"));
}
