//! The promises other crates build on: equal messages give equal bytes, and type URLs are Envoy's.

use std::time::Duration;

use prost::Name;
use xds_api::Wire;
use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::core::v3::Metadata;
use xds_api::google::protobuf::{Struct, Value};

fn cluster(keys: impl Iterator<Item = u32>) -> Cluster {
    let filter_metadata = keys.map(|key| (key.to_string(), Struct::from_iter([("zone", "a"), ("app", "b")]))).collect();
    Cluster {
        name: "outbound|80||a.default.svc.cluster.local".to_owned(),
        connect_timeout: Some(Duration::from_millis(1500).into()),
        metadata: Some(Metadata { filter_metadata, ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn equal_messages_give_equal_bytes() {
    let bytes = cluster(0..40).to_bytes();
    assert_eq!(bytes, cluster((0..40).rev()).to_bytes());
    assert_eq!(Cluster::from_bytes(&bytes).unwrap().to_bytes(), bytes);
}

#[test]
fn type_url_is_envoys() {
    let any = cluster(0..1).to_any();
    assert_eq!(any.type_url, "type.googleapis.com/envoy.config.cluster.v3.Cluster");
    assert_eq!(any.type_url, Cluster::type_url());
    assert_eq!(Cluster::from_bytes(&any.value).unwrap(), cluster(0..1));
}

#[test]
fn malformed_bytes_are_an_error() {
    assert!(Cluster::from_bytes(&[0x0a, 0x05, 0x61]).is_err());
}

#[test]
fn durations_keep_their_parts() {
    let duration = xds_api::google::protobuf::Duration::from(Duration::from_millis(1500));
    assert_eq!((duration.seconds, duration.nanos), (1, 500_000_000));
    assert_eq!(duration.to_std(), Some(Duration::from_millis(1500)));
    assert_eq!(xds_api::google::protobuf::Duration { seconds: -1, nanos: 0 }.to_std(), None);
}

#[test]
fn values_nest() {
    let value = Value::from(vec![Value::from(1.0), Struct::from_iter([("on", true)]).into()]);
    assert_eq!(Value::from_bytes(&value.to_bytes()).unwrap(), value);
}
