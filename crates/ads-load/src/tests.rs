//! A run against the real server over a made-up mesh.

use crate::{Flags, phases};
use ads::{ConnectError, Connections, Discovery, Options, Peer, Rejection, Server, Subscription};
use clap::Parser;
use std::{future::Future, pin::Pin, sync::Arc};
use tokio::sync::watch;
use xds_api::{
    Wire,
    envoy::config::{
        cluster::v3::{Cluster, cluster::ClusterDiscoveryType},
        core::v3::Node,
        endpoint::v3::ClusterLoadAssignment,
    },
};
use xds_wire::{Encoded, ResourceName, ResourceType, Resources, View};

struct OneClass(watch::Sender<Arc<View>>);

impl Discovery for OneClass {
    fn connect(&self, _: Node, _: Peer) -> Pin<Box<dyn Future<Output = Result<Subscription, ConnectError>> + Send + '_>> {
        let view = self.0.subscribe();
        Box::pin(std::future::ready(Ok(Subscription { view, guard: Box::new(()), secrets: ads::SecretAccess::All })))
    }

    fn rejected(&self, rejection: Rejection) {
        panic!("{rejection:?}");
    }

    fn recovered(&self, _: &str, _: ResourceType) {}
}

/// 100 clusters with endpoints.
fn mesh() -> Arc<View> {
    let mut view = View::new(1);
    let names: Vec<_> = (0..100).map(|i| format!("outbound|80||svc-{i}")).collect();
    let row = |kind, name: &str, body: &[u8]| (ResourceName::from(name), Arc::new(Encoded::new(kind, name.into(), body, Arc::from([]))));
    let clusters = names.iter().map(|name| {
        let cluster = Cluster { name: name.clone(), cluster_discovery_type: Some(ClusterDiscoveryType::Type(3)), ..Cluster::default() };
        row(ResourceType::Cluster, name, &cluster.to_bytes())
    });
    view.set(ResourceType::Cluster, Resources::new(clusters.collect()));
    let endpoints = names.iter().map(|name| {
        let endpoints = ClusterLoadAssignment { cluster_name: name.clone(), ..ClusterLoadAssignment::default() };
        row(ResourceType::Endpoint, name, &endpoints.to_bytes())
    });
    view.set(ResourceType::Endpoint, Resources::new(endpoints.collect()));
    Arc::new(view)
}

async fn measure(protocol: &str) -> crate::report::Report {
    let discovery = Arc::new(OneClass(watch::Sender::new(mesh())));
    let server = Server::new(discovery, Options::default(), Connections::default()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    let flags = ["ads-load", "--ads", &address, "-n", "5", "--services", "100", "--settle", "50", "--reconnect", "--protocol", protocol];
    phases::run(Flags::parse_from(flags)).await.unwrap()
}

#[tokio::test]
async fn every_stream_gets_everything_and_nothing_again() {
    let report = measure("delta").await;
    assert!(report.complete(), "{report}");
    let (first, again) = (&report.phases[0], &report.phases[1]);
    assert!(first.bytes > 5 * 200 * 50, "{report}");
    // An empty answer for each type is all that comes again.
    assert!(again.bytes < 5 * 4 * 150, "{report}");
}

#[tokio::test]
async fn the_other_variant_works_as_well() {
    let report = measure("sotw").await;
    assert!(report.complete(), "{report}");
    assert!(report.phases[0].bytes > 5 * 200 * 30, "{report}");
}
