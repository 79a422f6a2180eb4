//! The SDS server of test workloads: both protocols serve the same, and what is replaced comes by itself.

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use std::{path::PathBuf, pin::pin};
use testkit::live::{certificates::Authority, sds::Sds};
use tokio::{net::UnixStream, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tonic::{
    Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};

const IDENTITY: &str = "spiffe://cluster.local/ns/shop/sa/catalog";

async fn connect(path: PathBuf) -> Result<Grpc<Channel>> {
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let mut client = Grpc::new(Endpoint::from_static("http://sds").connect_with_connector(connector).await?);
    client.ready().await?;
    Ok(client)
}

fn path(method: &str) -> Result<PathAndQuery> {
    Ok(format!("/envoy.service.secret.v3.SecretDiscoveryService/{method}").parse()?)
}

#[tokio::test]
async fn both_protocols_serve_what_is_asked_for_and_what_replaces_it() -> Result<()> {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let socket = folder.path().join("sds.sock");
    let sds = Sds::serve(&authority, IDENTITY, &socket)?;

    let (out, requests) = mpsc::unbounded_channel();
    out.send(DeltaDiscoveryRequest { resource_names_subscribe: vec!["default".to_owned()], ..DeltaDiscoveryRequest::default() })?;
    let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
    let requests = tonic::Request::new(UnboundedReceiverStream::new(requests));
    let delta: Streaming<_> = connect(socket.clone()).await?.streaming(requests, path("DeltaSecrets")?, codec).await?.into_inner();

    let (world_out, requests) = mpsc::unbounded_channel();
    let names = vec!["default".to_owned(), "ROOTCA".to_owned()];
    world_out.send(DiscoveryRequest { resource_names: names, ..DiscoveryRequest::default() })?;
    let codec = ProstCodec::<DiscoveryRequest, DiscoveryResponse>::default();
    let requests = tonic::Request::new(UnboundedReceiverStream::new(requests));
    let world: Streaming<_> = connect(socket).await?.streaming(requests, path("StreamSecrets")?, codec).await?.into_inner();

    let (mut delta, mut world) = (pin!(delta), pin!(world));
    let first = delta.next().await.context("no answer")??;
    assert_eq!(first.resources.iter().map(|resource| resource.name.as_str()).collect::<Vec<_>>(), ["default"]);
    let all = world.next().await.context("no answer")??;
    assert_eq!(all.resources.len(), 2);
    assert_eq!(first.resources.first().and_then(|resource| resource.resource.as_ref()), all.resources.first());

    sds.rotate(&authority, IDENTITY)?;
    let second = delta.next().await.context("nothing after the rotation")??;
    assert_ne!(first.resources, second.resources);
    let again = world.next().await.context("nothing after the rotation")??;
    assert_eq!(second.resources.first().and_then(|resource| resource.resource.as_ref()), again.resources.first());
    Ok(())
}
