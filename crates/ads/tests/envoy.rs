//! A stock Envoy on the server, in both variants: it starts, follows changes without a lost request, warms what was
//! changed, refuses what is bad, and comes back. Needs the binary (`make envoy`, or `ENVOY=<path>`); skipped without.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod grpc;

use grpc::TestServer;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use xds_api::{
    Wire,
    envoy::{
        config::{
            cluster::v3::{
                Cluster,
                cluster::{ClusterDiscoveryType, EdsClusterConfig},
            },
            core::v3::{Address, AggregatedConfigSource, ConfigSource, SocketAddress, address, config_source, socket_address},
            endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint},
            listener::v3::{Filter, FilterChain, Listener, filter},
            route::v3::{Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action, route_match},
        },
        extensions::filters::{
            http::router::v3::Router,
            network::http_connection_manager::v3::{
                HttpConnectionManager, HttpFilter, Rds, http_connection_manager::RouteSpecifier, http_filter,
            },
        },
    },
    google::protobuf::Duration as ProtoDuration,
};
use xds_wire::{Encoded, ResourceName, ResourceType, Resources, View};

/// Far below the 15 seconds after which Envoy gives up warming by itself.
const SOON: Duration = Duration::from_secs(8);

fn envoy() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/envoy/envoy");
    [std::env::var_os("ENVOY").map(PathBuf::from), Some(default)].into_iter().flatten().find(|path| path.is_file())
}

struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_envoy(binary: &Path, ads: SocketAddr, api: &str) -> Envoy {
    let bootstrap = format!(
        r#"{{"node": {{"id": "router~127.0.0.1~envoy.test~test.svc.cluster.local", "cluster": "test"}},
        "dynamic_resources": {{
          "ads_config": {{"api_type": "{api}", "transport_api_version": "V3", "set_node_on_first_message_only": true,
            "grpc_services": [{{"envoy_grpc": {{"cluster_name": "xds"}}}}]}},
          "cds_config": {{"ads": {{}}, "resource_api_version": "V3"}}, "lds_config": {{"ads": {{}}, "resource_api_version": "V3"}}}},
        "static_resources": {{"clusters": [{{"name": "xds", "type": "STATIC", "connect_timeout": "1s",
          "typed_extension_protocol_options": {{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {{
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {{"http2_protocol_options": {{}}}}}}}},
          "load_assignment": {{"cluster_name": "xds", "endpoints": [{{"lb_endpoints": [{{"endpoint": {{"address":
            {{"socket_address": {{"address": "{}", "port_value": {}}}}}}}}}]}}]}}}}]}}}}"#,
        ads.ip(),
        ads.port()
    );
    let child = Command::new(binary)
        .args(["--config-yaml", &bootstrap, "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Envoy(child.unwrap())
}

/// An HTTP server that answers everything with one word.
async fn upstream(word: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{word}", word.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    port
}

/// The body of one GET, or what went wrong.
async fn get(port: u16) -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(text)?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(text)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(answer),
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn ads_source() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        resource_api_version: 2,
        ..Default::default()
    }
}

fn address(port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: "127.0.0.1".to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

fn cluster(name: &str, connect_seconds: i64) -> Encoded {
    let cluster = Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(3)),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads_source()), ..Default::default() }),
        connect_timeout: Some(ProtoDuration { seconds: connect_seconds, nanos: 0 }),
        ..Default::default()
    };
    Encoded::new(ResourceType::Cluster, name.into(), &cluster.to_bytes(), Arc::from([]))
}

fn endpoints(name: &str, port: u16) -> Encoded {
    let endpoint = LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint { address: Some(address(port)), ..Default::default() })),
        ..Default::default()
    };
    let locality = LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..Default::default() };
    let endpoints = ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints: vec![locality], ..Default::default() };
    Encoded::new(ResourceType::Endpoint, name.into(), &endpoints.to_bytes(), Arc::from([]))
}

fn listener(name: &str, port: u16, stat_prefix: &str) -> Encoded {
    let manager = HttpConnectionManager {
        stat_prefix: stat_prefix.to_owned(), // an empty one is refused
        route_specifier: Some(RouteSpecifier::Rds(Rds { config_source: Some(ads_source()), route_config_name: "routes".to_owned() })),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(Router::default().to_any())),
            ..Default::default()
        }],
        ..Default::default()
    };
    let filter = Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(manager.to_any())),
    };
    let listener = Listener {
        name: name.to_owned(),
        address: Some(address(port)),
        filter_chains: vec![FilterChain { filters: vec![filter], ..Default::default() }],
        ..Default::default()
    };
    Encoded::new(ResourceType::Listener, name.into(), &listener.to_bytes(), Arc::from([]))
}

fn routes(cluster: &str) -> Encoded {
    let action = RouteAction { cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(cluster.to_owned())), ..Default::default() };
    let route = Route {
        r#match: Some(RouteMatch { path_specifier: Some(route_match::PathSpecifier::Prefix("/".to_owned())), ..Default::default() }),
        action: Some(route::Action::Route(action)),
        ..Default::default()
    };
    let host = VirtualHost { name: "all".to_owned(), domains: vec!["*".to_owned()], routes: vec![route], ..Default::default() };
    let routes = RouteConfiguration { name: "routes".to_owned(), virtual_hosts: vec![host], ..Default::default() };
    Encoded::new(ResourceType::Route, "routes".into(), &routes.to_bytes(), Arc::from([]))
}

fn view(revision: u64, rows: [Vec<Encoded>; 4]) -> Arc<View> {
    let mut view = View::new(revision);
    for (kind, rows) in ResourceType::ALL.into_iter().zip(rows) {
        let rows = rows.into_iter().map(|row| (ResourceName::clone(&row.name), Arc::new(row)));
        view.set(kind, Resources::new(rows.collect()));
    }
    Arc::new(view)
}

/// The revision up to which every type that has changed is acknowledged.
fn acknowledged(server: &TestServer, kind: ResourceType) -> Option<u64> {
    let list = server.connections.list();
    let state = list.first()?.types.iter().find(|state| state.kind == kind)?.clone();
    let (sent, acknowledged) = (state.sent?, state.acknowledged?);
    (sent.nonce == acknowledged.nonce).then_some(acknowledged.revision)
}

async fn lives_with_envoy(binary: &Path, api: &str) {
    let (one, two) = (upstream("one").await, upstream("two").await);
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let l = || listener("l", port, "test");
    let start = view(1, [vec![cluster("a", 1)], vec![endpoints("a", one)], vec![l()], vec![routes("a")]]);
    let server = TestServer::new(start);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ads = socket.local_addr().unwrap();
    let (down, stopped) = oneshot::channel::<()>();
    let serving = server.server.clone();
    let task = tokio::spawn(async move { serving.serve(socket, async { drop(stopped.await) }).await });
    let _envoy = start_envoy(binary, ads, api);
    until("the first answer", || async { get(port).await.as_deref() == Ok("one") }).await;

    // From here on no request may fail.
    let calling = Arc::new(AtomicBool::new(true));
    let caller = tokio::spawn({
        let calling = calling.clone();
        async move {
            let mut calls = 0;
            while calling.load(Ordering::Relaxed) {
                get(port).await.unwrap();
                calls += 1;
            }
            calls
        }
    });
    let publish = |view| server.fake.view.send_replace(view);
    publish(view(2, [vec![cluster("a", 1)], vec![endpoints("a", two)], vec![l()], vec![routes("a")]]));
    until("the other endpoint", || async { get(port).await.as_deref() == Ok("two") }).await;

    // A changed cluster is warm as soon as its unchanged endpoints come again.
    publish(view(3, [vec![cluster("a", 2)], vec![endpoints("a", two)], vec![l()], vec![routes("a")]]));
    until("the changed cluster", || async { acknowledged(&server, ResourceType::Cluster) == Some(3) }).await;

    // A new cluster and the route to it in one revision, and the old cluster gone.
    publish(view(4, [vec![cluster("b", 1)], vec![endpoints("b", one)], vec![l()], vec![routes("b")]]));
    until("the new cluster", || async { get(port).await.as_deref() == Ok("one") }).await;
    until("the removal", || async { acknowledged(&server, ResourceType::Cluster) == Some(4) }).await;
    assert_eq!(server.counted("pilot_xds_order_wait_timeouts"), 0.0);

    let bad = listener("bad", port, "");
    publish(view(5, [vec![cluster("b", 1)], vec![endpoints("b", one)], vec![bad, l()], vec![routes("b")]]));
    until("the refusal", || async { !server.fake.rejections.lock().unwrap().is_empty() }).await;
    let rejection = server.fake.rejections.lock().unwrap()[0].clone();
    assert_eq!(rejection.resources.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["bad"], "{}", rejection.message);

    // The control plane comes back with the same content.
    let last = view(6, [vec![cluster("b", 1)], vec![endpoints("b", one)], vec![l()], vec![routes("b")]]);
    drop(down);
    task.await.unwrap();
    let again = TestServer::new(last);
    let socket = TcpListener::bind(ads).await.unwrap();
    let serving = again.server.clone();
    tokio::spawn(async move { serving.serve(socket, std::future::pending()).await });
    until("Envoy comes back", || async {
        again
            .connections
            .list()
            .first()
            .is_some_and(|status| status.types.len() >= 4 && status.types.iter().all(|state| state.acknowledged.is_some()))
    })
    .await;
    if api == "DELTA_GRPC" {
        assert_eq!(again.counted("pilot_xds_resources_sent"), 0.0, "it has everything");
    }
    calling.store(false, Ordering::Relaxed);
    let calls = caller.await.unwrap();
    assert!(calls > 10, "only {calls} calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_envoy_lives_with_delta() {
    let Some(binary) = envoy() else { return eprintln!("SKIPPED: no Envoy binary; `make envoy` gets one, or set ENVOY to its path") };
    lives_with_envoy(&binary, "DELTA_GRPC").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_envoy_lives_with_the_state_of_the_world() {
    let Some(binary) = envoy() else { return eprintln!("SKIPPED: no Envoy binary; `make envoy` gets one, or set ENVOY to its path") };
    lives_with_envoy(&binary, "GRPC").await;
}
