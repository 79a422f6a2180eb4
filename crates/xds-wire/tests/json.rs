//! Proto JSON in Envoy's spelling, both ways, and the same bytes for the same JSON.

use serde_json::{Value, json};
use xds_api::Wire;
use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::listener::v3::Listener;
use xds_api::google::protobuf::{Any, Empty, StringValue};
use xds_wire::json::{any_to_json, from_json, to_json};

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

fn listener() -> Value {
    json!({
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}},
        "filter_chains": [{
            "filters": [{
                "name": "http",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "http_filters": [{
                        "name": "fault",
                        "typed_config": {
                            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
                            "type_url": "type.googleapis.com/x.Y",
                            "value": {"a": 1, "b": 0.5, "c": [true, null, "s"], "d": {"e": 2}},
                        },
                    }],
                    "stat_prefix": "in",
                    "stream_idle_timeout": "1.500s",
                },
            }],
        }],
        "metadata": {"filter_metadata": {"istio": {"x": "y"}}},
        "name": "in",
        "per_connection_buffer_limit_bytes": 32768,
        "traffic_direction": "INBOUND",
    })
}

#[test]
fn a_listener_survives_both_ways() {
    let bytes = from_json(LISTENER, &listener()).unwrap();
    let shown = to_json("envoy.config.listener.v3.Listener", &bytes).unwrap();
    assert_eq!(serde_json::to_string(&shown).unwrap(), serde_json::to_string(&listener()).unwrap());
    assert_eq!(Listener::from_bytes(&bytes).unwrap().to_bytes(), bytes);
}

#[test]
fn maps_have_one_encoding_in_packed_messages_too() {
    let fields: serde_json::Map<_, _> = (0..40).map(|key| (key.to_string(), json!({"n": key, "m": "x"}))).collect();
    let typed_struct = json!({"@type": "type.googleapis.com/xds.type.v3.TypedStruct", "value": fields});
    let cluster = json!({
        "name": "a",
        "metadata": {"filter_metadata": {"z": fields, "a": {"k": 1}}},
        "typed_extension_protocol_options": {"x": typed_struct, "b": typed_struct},
    });
    let once = from_json(Cluster::TYPE_URL, &cluster).unwrap();
    assert_eq!(from_json(Cluster::TYPE_URL, &cluster).unwrap(), once);
    assert_eq!(Cluster::from_bytes(&once).unwrap().to_bytes(), once);
    assert_eq!(to_json(Cluster::TYPE_URL, &once).unwrap(), cluster);
}

#[test]
fn what_cannot_be_expanded_is_shown_as_bytes() {
    let unknown = Any { type_url: "type.googleapis.com/foo.Bar".into(), value: vec![8, 1].into() };
    let options = [("x".to_owned(), unknown)].into();
    let cluster = Cluster { name: "a".into(), typed_extension_protocol_options: options, ..Default::default() };
    let expected = json!({"@type": "type.googleapis.com/foo.Bar", "value": "CAE="});
    let shown = to_json(Cluster::TYPE_URL, &cluster.to_bytes()).unwrap();
    assert_eq!(shown, json!({"name": "a", "typed_extension_protocol_options": {"x": expected}}));

    let malformed = Any { type_url: Cluster::TYPE_URL.into(), value: vec![0x0a, 5].into() };
    assert_eq!(any_to_json(&malformed), json!({"@type": Cluster::TYPE_URL, "value": "CgU="}));
}

#[test]
fn packed_well_known_types_stand_under_value() {
    let text = StringValue::from("s").to_any();
    assert_eq!(any_to_json(&text), json!({"@type": StringValue::TYPE_URL, "value": "s"}));
    assert_eq!(any_to_json(&Empty {}.to_any()), json!({"@type": Empty::TYPE_URL}));
    let nested = text.to_any();
    assert_eq!(any_to_json(&nested), json!({"@type": Any::TYPE_URL, "value": {"@type": StringValue::TYPE_URL, "value": "s"}}));
}

#[test]
fn endless_packing_ends() {
    let any = (0..2_000).fold(Any::default(), |any, _| any.to_any());
    assert!(serde_json::to_string(&any_to_json(&any)).is_ok());
}

#[test]
fn names_in_camel_case_are_taken_and_mistakes_are_named() {
    let bytes = from_json(Cluster::TYPE_URL, &json!({"altStatName": "s"})).unwrap();
    assert_eq!(Cluster::from_bytes(&bytes).unwrap().alt_stat_name, "s");
    let error = |value| from_json(Cluster::TYPE_URL, &value).unwrap_err().to_string();
    assert!(error(json!({"nope": 1})).contains("nope"));
    assert!(error(json!({"lb_policy": "NOPE"})).contains("NOPE"));
    let unknown = json!({"typed_extension_protocol_options": {"x": {"@type": "type.googleapis.com/foo.Bar"}}});
    assert!(error(unknown).contains("foo.Bar"));
    assert!(from_json("foo.Bar", &json!({})).unwrap_err().to_string().contains("foo.Bar"));
    assert!(to_json(Cluster::TYPE_URL, &[0x0a, 5]).is_err());
}
