//! Virtual hosts one by one (VHDS): what a stock Envoy needs to hear, rule by rule.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod script;

use ads::{Protocol, Response, takes_virtual_hosts};
use script::*;
use std::{collections::BTreeMap, sync::Arc};
use xds_api::envoy::{
    config::core::v3::{BuildVersion, Node, node::UserAgentVersionType},
    service::discovery::v3::DeltaDiscoveryRequest,
    r#type::v3::SemanticVersion,
};
use xds_api::google::protobuf::{Struct, Value, value::Kind};
use xds_wire::{Encoded, Part, ResourceType, ResourceType::VirtualHost, Resources, View};

/// A view with these route configurations, each with its virtual hosts and their content.
fn routes(revision: u64, all: &[(&str, &[(&str, &str)])]) -> Arc<View> {
    let mut out = View::new(revision);
    let (mut whole, mut bare, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
    for (name, rows) in all {
        let part = |text: String| Arc::new(Part::new(text.into(), Arc::from([])));
        let mut parts: Vec<_> = rows.iter().map(|(host, content)| part(format!("{host}={content}"))).collect();
        parts.push(Arc::new(Part::staying("rest".into(), Arc::from([]))));
        let routes = Encoded::assembled(Route, (*name).into(), (name.as_bytes(), parts, b""));
        bare.push(routes.bare(Route, b"one by one").unwrap());
        whole.push(routes);
        let host = |(host, content): &(&str, &str)| (*resource(VirtualHost, &format!("{name}/{host}"), content)).clone();
        hosts.extend(rows.iter().map(host));
    }
    let set = |rows: Vec<Encoded>| Resources::new(rows.into_iter().map(|row| (row.name.clone(), Arc::new(row))).collect());
    out.set(Route, set(whole));
    out.set(VirtualHost, set(hosts));
    out.set_bare_routes(Some(set(bare)));
    Arc::new(out)
}

fn is_bare(response: &Response) -> bool {
    response.resources.iter().all(|resource| resource.version.is_bare())
}

/// The versions of a response, as a client that comes back states them.
fn versions(responses: &[&Response]) -> BTreeMap<String, String> {
    let resources = responses.iter().flat_map(|response| &response.resources);
    resources.map(|resource| (resource.name.to_string(), resource.version.to_string())).collect()
}

fn returning(kind: ResourceType, names: &[&str], versions: BTreeMap<String, String>) -> DeltaDiscoveryRequest {
    delta(kind, |request| {
        request.resource_names_subscribe = strings(names);
        request.initial_resource_versions = versions;
    })
}

/// A client with route configuration 80 and its virtual hosts.
fn started() -> (Script, [Response; 2]) {
    let mut s = Script::delta(routes(1, &[("80", &[("a", "1"), ("b", "1")])]));
    let first = only(s.subscribe(Route, &["80"]));
    assert!(is_bare(&first));
    let hosts = only(s.subscribe(VirtualHost, &[]));
    assert_eq!(brief(&hosts), "vhds: +80/a +80/b");
    s.acknowledge(&first);
    s.acknowledge(&hosts);
    (s, [first, hosts])
}

#[test]
fn a_changed_host_is_sent_alone_and_a_renamed_one_in_one_response() {
    let (mut s, _) = started();
    let response = only(s.view(routes(2, &[("80", &[("a", "1"), ("b", "2")])])));
    assert_eq!(brief(&response), "vhds: +80/b");
    s.acknowledge(&response);
    assert_eq!(briefs(&s.view(routes(3, &[("80", &[("a", "1"), ("c", "2")])]))), ["vhds: +80/c -80/b"]);
}

#[test]
fn an_empty_route_configuration_is_released_by_a_removal() {
    let mut s = Script::delta(routes(1, &[("80", &[])]));
    let first = only(s.subscribe(Route, &["80"]));
    assert!(is_bare(&first));
    let hosts = only(s.subscribe(VirtualHost, &[]));
    assert_eq!(brief(&hosts), "vhds: -80/-");
    s.acknowledge(&first);
    s.acknowledge(&hosts);
    assert_eq!(briefs(&s.view(routes(2, &[("80", &[("a", "1")])]))), ["vhds: +80/a"]);
}

#[test]
fn the_hosts_of_a_further_route_configuration_follow_it_at_once() {
    let (mut s, _) = started();
    // Its hosts go out with the view, before Envoy has heard of the route configuration.
    let more: &[(&str, &[(&str, &str)])] = &[("80", &[("a", "1"), ("b", "1")]), ("81", &[("c", "1")])];
    let early = only(s.view(routes(2, more)));
    assert_eq!(brief(&early), "vhds: +81/c");
    // Not acknowledged yet, and all the same.
    assert_eq!(briefs(&s.subscribe(Route, &["81"])), ["rds: +81", "vhds: +81/c"]);
}

#[test]
fn a_route_configuration_that_was_given_up_gets_its_hosts_again() {
    let (mut s, _) = started();
    s.send(delta(Route, |request| request.resource_names_unsubscribe = strings(&["80"])));
    assert_eq!(briefs(&s.subscribe(Route, &["80"])), ["rds: +80", "vhds: +80/a +80/b"]);
}

#[test]
fn who_comes_back_gets_what_differs_in_whichever_order_it_asks() {
    let (_, [first, hosts]) = started();
    let newest = || routes(2, &[("80", &[("a", "2"), ("c", "1")])]);
    for routes_first in [true, false] {
        let mut s = Script::delta(newest());
        let mut requests = [returning(Route, &["80"], versions(&[&first])), returning(VirtualHost, &[], versions(&[&hosts]))];
        if !routes_first {
            requests.reverse();
        }
        let mut sent: Vec<String> = requests.into_iter().flat_map(|request| briefs(&s.send(request))).collect();
        sent.retain(|text| !text.is_empty() && text != "rds: ");
        assert_eq!(sent, ["vhds: +80/a +80/c -80/b"]);
    }
}

#[test]
fn hosts_of_a_route_configuration_that_is_not_there_are_not_believed() {
    let (_, [_, hosts]) = started();
    let mut s = Script::delta(routes(2, &[("80", &[("a", "1"), ("b", "1")])]));
    // It gave up 80 before the stream broke, and still counts its virtual hosts.
    let other = BTreeMap::from([("81".to_string(), format!("{:032x}", 1_u128 << 127))]);
    s.send(returning(Route, &["81"], other));
    s.send(returning(VirtualHost, &[], versions(&[&hosts])));
    assert_eq!(briefs(&s.subscribe(Route, &["80"])), ["rds: +80", "vhds: +80/a +80/b"]);
}

#[test]
fn who_has_hosts_inline_keeps_them_inline() {
    let view = routes(1, &[("80", &[("a", "1")])]);
    let whole = view.of(Route).get("80").unwrap().version.to_string();
    let mut s = Script::delta(routes(2, &[("80", &[("a", "2")])]));
    let response = only(s.send(returning(Route, &["80"], BTreeMap::from([("80".to_string(), whole)]))));
    assert!(brief(&response) == "rds: +80" && !is_bare(&response));
    s.acknowledge(&response);
    let response = only(s.view(routes(3, &[("80", &[("a", "3")])])));
    assert!(brief(&response) == "rds: +80" && !is_bare(&response));
}

#[test]
fn who_refuses_to_be_told_so_gets_them_inline() {
    let mut s = Script::delta(routes(1, &[("80", &[("a", "1")])]));
    let response = only(s.subscribe(Route, &["80"]));
    let actions = s.refuse(&response, "vhds: only 'DELTA_GRPC' is supported as an api_type.");
    assert_eq!(briefs(&actions).into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>(), ["rds: +80"]);
}

#[test]
fn only_envoys_that_can() {
    let node = |agent: &str, minor: u32| Node {
        user_agent_name: agent.to_string(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(BuildVersion {
            version: Some(SemanticVersion { major_number: 1, minor_number: minor, patch: 0 }),
            metadata: None,
        })),
        ..Node::default()
    };
    let takes = |node: &Node| takes_virtual_hosts(node, Protocol::Delta);
    assert!(takes(&node("envoy", 37)) && takes(&node("envoy", 40)));
    assert!(!takes(&node("envoy", 36)) && !takes(&node("grpc-go", 40)) && !takes(&Node::default()));
    assert!(!takes_virtual_hosts(&node("envoy", 40), Protocol::StateOfTheWorld));
    let flag = Value { kind: Some(Kind::StringValue("true".to_string())) };
    let metadata = Some(Struct { fields: BTreeMap::from([("DISABLE_VHDS".to_string(), flag)]) });
    assert!(!takes(&Node { metadata, ..node("envoy", 40) }));
}

#[test]
fn a_host_that_is_refused_costs_no_other_one() {
    let all = |content: &'static str| [("a", "1"), ("b", "1"), ("c", content), ("d", "1"), ("e", "1")];
    let mut s = Script::delta(routes(1, &[("80", &all("bad"))]));
    let first = only(s.subscribe(Route, &["80"]));
    let hosts = responses(&s.subscribe(VirtualHost, &[]));
    s.acknowledge(&first);
    let (sent, refused) = s.against(hosts, "80/c");
    assert_eq!(
        sent,
        ["vhds: +80/a +80/b +80/c +80/d +80/e", "vhds: +80/a +80/b", "vhds: +80/c +80/d", "vhds: +80/e", "vhds: +80/c", "vhds: +80/d"]
    );
    assert_eq!(refused, ["80/c refused"]);
    let mended = responses(&s.view(routes(2, &[("80", &all("good"))])));
    assert_eq!(s.against(mended, "none"), (vec!["vhds: +80/c".to_owned()], vec!["vhds recovered".to_owned()]));
}

#[test]
fn what_came_with_a_host_that_is_refused_by_name_is_sent_again() {
    let mut s = Script::delta(routes(1, &[("80", &[("a", "1"), ("b", "bad"), ("c", "1")])]));
    let first = only(s.subscribe(Route, &["80"]));
    let hosts = only(s.subscribe(VirtualHost, &[]));
    s.acknowledge(&first);
    assert_eq!(briefs(&s.refuse(&hosts, "virtual host 80/b: cannot be read")), ["vhds: +80/a +80/c"]);
}
