//! A stock Envoy accepts every kind of listener that the crate builds. Needs the binary (`make envoy`, or `ENVOY=<path>`);
//! without it the test says so and passes.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails it by panicking")]

use base::Protocol;
use envoy::filter::network::http_connection_manager::HttpOptions;
use envoy::filter::network::tcp_proxy::{TcpDestinations, TcpOptions};
use envoy::filter::network::tracing::{StandardTags, TracingInputs, standard_tags};
use envoy::listener::*;
use envoy::tls::{CredentialSource, DownstreamAlpn, DownstreamMtlsInputs, downstream_mtls, downstream_transport_socket};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use xds_api::Wire;
use xds_api::envoy::config::listener::v3::Listener;
use xds_api::envoy::config::route::v3::{RouteConfiguration, VirtualHost};

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn binary() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/envoy/envoy");
    [std::env::var_os("ENVOY").map(PathBuf::from), Some(default)].into_iter().flatten().find(|path| path.is_file())
}

fn options(http10: bool) -> ProxyOptions {
    let tags = StandardTags { canonical_revision: "v1", canonical_service: "shop", cluster_id: "c", mesh_id: "m", namespace: "n" };
    let tracing = TracingInputs { custom_tags: standard_tags(&tags), ..TracingInputs::default() };
    let http = HttpOptions {
        tracing: Some(tracing),
        idle_timeout: Some(Duration::from_secs(9)),
        http10,
        sniff_http10: http10,
        ..HttpOptions::default()
    };
    ProxyOptions {
        http,
        tcp: TcpOptions { idle_timeout: Some(Duration::from_secs(7)), ..TcpOptions::default() },
        exact_balance: http10,
        ..ProxyOptions::default()
    }
}

fn weighted() -> TcpDestinations {
    let clusters = vec![("outbound|1||a".to_owned(), 20), ("outbound|1||b".to_owned(), 80)];
    TcpDestinations { stat_prefix: "split.shop".into(), clusters, hash_source_ip: true, ..TcpDestinations::default() }
}

fn route(grpc_web: bool) -> OutboundAction {
    OutboundAction::Http { route: "80".into(), grpc_web, http_proxy: grpc_web }
}

fn tcp(subnets: &[&str], protocol: Protocol) -> OutboundAction {
    OutboundAction::Tcp { subnets: subnets.iter().map(|text| text.parse().unwrap()).collect(), destinations: weighted(), protocol }
}

fn tls(names: &[&str]) -> OutboundAction {
    let server_names = names.iter().map(|name| (*name).to_owned()).collect();
    OutboundAction::Tls { server_names, subnets: Vec::new(), destinations: TcpDestinations::cluster("outbound|443||a") }
}

fn outbound(bind: &Bind, bind_to_port: bool, actions: Vec<OutboundAction>) -> Listener {
    let chains: Vec<_> = actions.into_iter().map(|action| OutboundChain { action, metadata: None }).collect();
    let fallback = if bind_to_port { OutboundFallback::Close } else { OutboundFallback::Policy(&OutboundPolicy::RegistryOnly) };
    outbound_listener(&OutboundListenerInputs { bind, bind_to_port, chains: &chains, fallback, options: &options(bind_to_port) })
}

fn outbound_listeners() -> Vec<Listener> {
    let unix = Bind::Unix { path: "/tmp/mesh.sock".into(), port: 0 };
    let both_families = Bind::Ip { address: ANY, additional: vec!["::".parse().unwrap()], port: 83 };
    let virtual_listener = virtual_outbound(&VirtualOutboundInputs {
        bind: &Bind::ip(ANY, names::VIRTUAL_OUTBOUND_PORT),
        policy: &OutboundPolicy::EgressProxy("outbound|80||egress".into()),
        transparent: true,
        options: &options(false),
    });
    vec![
        virtual_listener,
        outbound(&Bind::ip(ANY, 80), false, vec![route(false)]),
        outbound(&Bind::ip("10.0.0.1".parse().unwrap(), 81), false, vec![route(false), tcp(&[], Protocol::Tcp)]),
        outbound(&Bind::ip(ANY, 443), false, vec![tls(&["a.test", "*.b.test"]), tls(&["a.test", "*c.test"]), tls(&["*"])]),
        outbound(
            &Bind::ip(ANY, 27017),
            false,
            vec![tcp(&["10.1.2.3/8", "2001:db8::/32"], Protocol::Mongo), tcp(&["10.4.5.6/8"], Protocol::Tcp)],
        ),
        outbound(&Bind::ip("2001:db8::1".parse().unwrap(), 82), true, vec![route(true)]),
        outbound(&both_families, false, vec![route(false), tls(&["d.test"])]),
        outbound(&unix, true, vec![tcp(&[], Protocol::Tcp)]),
    ]
}

fn inbound_route() -> RouteConfiguration {
    let virtual_hosts = vec![VirtualHost { name: "inbound|http|80".into(), domains: vec!["*".into()], ..VirtualHost::default() }];
    RouteConfiguration { name: "inbound|80||".into(), virtual_hosts, ..RouteConfiguration::default() }
}

fn inbound_listeners(certificates: &Certificates, mode: MutualTlsMode) -> Vec<Listener> {
    let route = inbound_route();
    let protocols = [
        InboundProtocol::Http { route: route.clone(), grpc_web: true },
        InboundProtocol::Tcp { protocol: Protocol::Mongo },
        InboundProtocol::Sniffed { route: route.clone() },
    ];
    let chains: Vec<_> = (7001..)
        .zip(protocols)
        .map(|(port, protocol)| {
            let destinations = TcpDestinations::cluster(format!("inbound|{port}||"));
            InboundChainInputs { address: ANY, port, protocol, tls: InboundTls::Mutual(mode), destinations, metadata: None }
        })
        .collect();
    let port_modes = BTreeMap::from([(7001, mode), (9000, MutualTlsMode::Disable), (9001, MutualTlsMode::Strict)]);
    let passthrough = InboundPassthrough { mode, port_modes, route };
    let options = options(mode == MutualTlsMode::Disable);
    let virtual_listener = virtual_inbound(&VirtualInboundInputs {
        bind: &Bind::ip(ANY, names::VIRTUAL_INBOUND_PORT),
        chains: &chains,
        passthrough: &passthrough,
        certificates,
        transparent: true,
        options: &options,
    });
    let bound = chains.iter().map(|chain| {
        let bind = Bind::ip(IpAddr::V4(Ipv4Addr::LOCALHOST), chain.port);
        bound_inbound_listener(&BoundInboundInputs { bind: &bind, chain, certificates, options: &options })
    });
    [virtual_listener].into_iter().chain(bound).collect()
}

fn gateway_listeners(certificates: &Certificates) -> Vec<Listener> {
    let Certificates::Sds { http, .. } = certificates else { return Vec::new() };
    let routed = |route: &str| GatewayAction::Http { route: route.into(), server: String::new(), grpc_web: false };
    let forwarded = GatewayAction::Tcp { subnets: Vec::new(), destinations: weighted(), protocol: Protocol::Tls };
    let chain = |names: &[&str], tls: bool, action: GatewayAction| GatewayChain {
        server_names: names.iter().map(|name| (*name).to_owned()).collect(),
        mesh_traffic: false,
        transport_socket: tls.then(|| http.clone()),
        action,
        metadata: None,
    };
    let plain = [chain(&[], false, routed("http.8080"))];
    let secure = [
        chain(&["a.test"], true, routed("https.8443.a.gateway.shop")),
        chain(&["*.a.test", "b.test"], true, forwarded.clone()),
        chain(&["*"], false, forwarded.clone()),
        chain(&["*"], true, routed("https.8443.b.gateway.shop")),
    ];
    let listener = |port, chains: &[GatewayChain], proxy_protocol| {
        gateway_listener(&GatewayListenerInputs {
            bind: &Bind::ip(ANY, port),
            chains,
            proxy_protocol,
            transport: GatewayTransport::Tcp,
            options: &options(false),
        })
        .unwrap()
    };
    vec![listener(8080, &plain, false), listener(8443, &secure, true), listener(9090, &[chain(&[], false, forwarded)], false)]
}

/// A bootstrap with only what listeners refer to by themselves.
fn bootstrap(listeners: &[Listener]) -> Value {
    let listeners: Vec<Value> = listeners
        .iter()
        .map(|listener| xds_wire::json::to_json("envoy.config.listener.v3.Listener", &listener.to_bytes()).unwrap())
        .collect();
    let ads = json!({"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]});
    let cluster = |name: &str| json!({"name": name, "type": "STATIC", "http2_protocol_options": {}});
    json!({
        "node": {"id": "sidecar~10.0.0.2~shop.shop~shop.svc.cluster.local", "cluster": "shop"},
        "dynamic_resources": {"ads_config": ads},
        "static_resources": {"listeners": listeners, "clusters": [cluster("xds-grpc"), cluster("sds-grpc")]},
    })
}

#[test]
fn a_stock_envoy_accepts_every_listener() {
    let Some(binary) = binary() else {
        eprintln!("SKIPPED: no Envoy binary; `make envoy` gets one, or set ENVOY to its path");
        return;
    };
    let trust_domains = ["cluster.local".into()];
    let socket = |alpn| {
        let credentials = CredentialSource::Ads;
        let inputs = DownstreamMtlsInputs { trust_domains: &trust_domains, alpn, mesh_mtls: None, files: None, credentials };
        downstream_transport_socket(&downstream_mtls(&inputs))
    };
    let certificates = Certificates::Sds { http: socket(DownstreamAlpn::Http), tcp: socket(DownstreamAlpn::Tcp) };
    let mut proxies = vec![("gateway".to_owned(), gateway_listeners(&certificates)), ("outbound".to_owned(), outbound_listeners())];
    for mode in [MutualTlsMode::Disable, MutualTlsMode::Permissive, MutualTlsMode::Strict] {
        proxies.push((format!("{mode:?} with certificates"), inbound_listeners(&certificates, mode)));
        proxies.push((format!("{mode:?} without certificates"), inbound_listeners(&Certificates::None, mode)));
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, listeners) in proxies {
        let path = folder.path().join(format!("{name}.json"));
        std::fs::write(&path, bootstrap(&listeners).to_string()).unwrap();
        let output = Command::new(&binary).args(["--mode", "validate", "-l", "error", "-c"]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
