//! The delta protocol, request by request.

mod script;

use ads::{Action, Observation, Protocol};
use script::*;
use std::collections::BTreeMap;
use xds_wire::Version;

#[test]
fn everything_once_and_then_what_changes() {
    let mut s = Script::delta(view(1, &[(Cluster, "a", "1"), (Cluster, "b", "1")]));
    let first = only(s.subscribe(Cluster, &[]));
    assert_eq!(brief(&first), "cds: +a +b");
    assert_eq!(briefs(&s.acknowledge(&first)), [""; 0]);
    let second = only(s.view(view(2, &[(Cluster, "a", "1"), (Cluster, "b", "2"), (Cluster, "c", "1")])));
    assert_eq!(brief(&second), "cds: +b +c");
    assert_ne!(first.nonce, second.nonce);
    assert_eq!(briefs(&s.acknowledge(&second)), [""; 0]);
    assert_eq!(briefs(&s.view(view(3, &[(Cluster, "a", "1"), (Cluster, "b", "2"), (Cluster, "c", "1")]))), [""; 0]);
}

#[test]
fn one_unacknowledged_push_and_then_the_newest() {
    let mut s = Script::delta(view(1, &[(Cluster, "a", "1")]));
    let first = only(s.subscribe(Cluster, &[]));
    assert_eq!(briefs(&s.view(view(2, &[(Cluster, "a", "2")]))), [""; 0]);
    assert_eq!(briefs(&s.view(view(3, &[(Cluster, "a", "3"), (Cluster, "b", "1")]))), [""; 0]);
    let next = only(s.acknowledge(&first));
    assert_eq!((brief(&next).as_str(), next.revision), ("cds: +a +b", 3));
    assert_eq!(next.resources[0].version, Version::of(b"3"));
}

#[test]
fn a_name_that_does_not_exist_is_answered_and_watched() {
    let mut s = Script::delta(view(1, &[(Route, "80", "1")]));
    let first = only(s.subscribe(Route, &["80", "81"]));
    assert_eq!(brief(&first), "rds: +80 -81");
    s.acknowledge(&first);
    assert_eq!(briefs(&s.view(view(2, &[(Route, "80", "1"), (Route, "81", "1"), (Route, "82", "1")]))), ["rds: +81"]);
}

#[test]
fn a_name_subscribed_to_again_is_answered_again() {
    let mut s = Script::delta(view(1, &[(Route, "80", "1"), (Route, "81", "1")])).started(&[], &["80", "81"]);
    assert_eq!(briefs(&s.subscribe(Route, &["80"])), ["rds: +80"]);
}

#[test]
fn a_new_name_is_answered_before_the_last_response_is_acknowledged() {
    let mut s = Script::delta(view(1, &[(Endpoint, "a", "1"), (Endpoint, "b", "1")]));
    let first = only(s.subscribe(Endpoint, &["a"]));
    let second = only(s.subscribe(Endpoint, &["b"]));
    assert_eq!((brief(&first).as_str(), brief(&second).as_str()), ("eds: +a", "eds: +b"));
    assert_eq!(briefs(&s.acknowledge(&first)), [""; 0]);
    assert_eq!(briefs(&s.view(view(2, &[(Endpoint, "a", "2"), (Endpoint, "b", "1")]))), [""; 0]);
    assert_eq!(briefs(&s.acknowledge(&second)), ["eds: +a"]);
}

#[test]
fn a_returning_client_gets_only_what_differs() {
    let rows = [(Cluster, "a", "1"), (Cluster, "b", "2"), (Cluster, "new", "1"), (Endpoint, "a", "1"), (Endpoint, "b", "1")];
    let mut s = Script::delta(view(1, &rows));
    let held = |pairs: &[(&str, &[u8])]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, content)| (name.to_string(), Version::of(content).to_string())).collect()
    };
    let versions = held(&[("a", b"1"), ("b", b"1"), ("gone", b"1")]);
    let clusters = only(s.send(delta(Cluster, |r| r.initial_resource_versions = versions)));
    assert_eq!(brief(&clusters), "cds: +b +new");
    let versions = held(&[("a", b"1"), ("b", b"1")]);
    let endpoints = only(s.send(delta(Endpoint, |r| {
        r.resource_names_subscribe = strings(&["a", "b"]);
        r.initial_resource_versions = versions;
    })));
    assert_eq!(brief(&endpoints), "eds: +b", "Envoy warms the changed cluster until its endpoints come again");
    for kind in [Listener, Route] {
        assert_eq!(brief(&only(s.subscribe(kind, &[]))), format!("{kind}: "), "every first request is answered");
    }
    // The routes and listeners that may refer to it have to be accepted first.
    let sent = [clusters, endpoints];
    assert_eq!(briefs(&s.acknowledge(&sent[0])), [""; 0]);
    s.acknowledge(&sent[1]);
    assert_eq!(briefs(&s.wait(std::time::Duration::from_secs(1))), ["cds: -gone"]);
}

#[test]
fn wildcard_and_names_are_tracked_apart() {
    let rows = [(Cluster, "a", "1"), (Cluster, "b", "1")];
    let mut s = Script::delta(view(1, &rows));
    s.subscribe(Cluster, &[]);
    assert_eq!(briefs(&s.subscribe(Cluster, &["b", "x"])), ["cds: +b -x"]);
    let back = s.send(delta(Cluster, |r| r.resource_names_unsubscribe = strings(&["b"])));
    assert_eq!(briefs(&back), ["cds: +b"], "the wildcard still covers it");
    let mut s = Script::delta(view(1, &rows)).started(&[], &[]);
    let named = only(s.subscribe(Cluster, &["b"]));
    s.acknowledge(&named);
    s.send(delta(Cluster, |r| r.resource_names_unsubscribe = strings(&["*"])));
    assert_eq!(briefs(&s.view(view(2, &[(Cluster, "a", "2"), (Cluster, "b", "2")]))), ["cds: +b"]);
}

#[test]
fn an_explicit_star_is_a_wildcard() {
    let mut s = Script::delta(view(1, &[(Cluster, "a", "1"), (Cluster, "b", "1")]));
    assert_eq!(briefs(&s.subscribe(Cluster, &["*", "b"])), ["cds: +a +b"]);
}

#[test]
fn an_unsubscribed_name_is_forgotten() {
    let mut s = Script::delta(view(1, &[(Endpoint, "a", "1")])).started(&["a"], &[]);
    let actions = s.send(delta(Endpoint, |r| r.resource_names_unsubscribe = strings(&["a"])));
    assert_eq!(briefs(&actions), [""; 0], "needs no answer");
    assert_eq!(briefs(&s.view(view(2, &[(Endpoint, "a", "2")]))), [""; 0]);
    assert_eq!(briefs(&s.subscribe(Endpoint, &["a"])), ["eds: +a"]);
}

#[test]
fn a_refused_response_is_not_sent_again_until_it_changes() {
    let mut s = Script::delta(view(1, &[(Listener, "bad", "1"), (Listener, "good", "1")])).started(&[], &[]);
    let response = only(s.view(view(2, &[(Listener, "bad", "2"), (Listener, "good", "2")])));
    let actions = s.refuse(&response, "Error adding/updating listener(s) bad: no");
    let Some(Action::Rejected { kind: Listener, resources, origins, message, .. }) = actions.first() else { panic!("{actions:?}") };
    assert_eq!(resources, &[("bad".into(), Version::of(b"2"))]);
    assert_eq!(origins[0].to_string(), "Service shop/bad");
    assert!(message.ends_with("bad: no"));
    assert_eq!(briefs(&actions), [""; 0]);
    assert_eq!(briefs(&s.wait(std::time::Duration::from_secs(60))), [""; 0]);
    // Another change brings the good one along, because Envoy may have dropped it, and not the bad one.
    let rows = [(Listener, "bad", "2"), (Listener, "good", "2"), (Listener, "new", "1")];
    let response = only(s.view(view(3, &rows)));
    assert_eq!(brief(&response), "lds: +good +new");
    assert_eq!(s.acknowledge(&response).first(), Some(&Action::Recovered(Listener)));
    let response = only(s.view(view(4, &[(Listener, "bad", "3"), (Listener, "good", "2"), (Listener, "new", "1")])));
    assert_eq!(brief(&response), "lds: +bad");
}

#[test]
fn the_old_content_of_a_refused_resource_counts_as_a_change() {
    let mut s = Script::delta(view(1, &[(Listener, "a", "1")])).started(&[], &[]);
    let response = only(s.view(view(2, &[(Listener, "a", "2")])));
    s.refuse(&response, "no name in here");
    assert_eq!(briefs(&s.view(view(3, &[(Listener, "a", "1")]))), ["lds: +a"]);
}

/// The view in which listener `a` is held back at content 1, because content 2 was refused.
fn holding(revision: u64) -> std::sync::Arc<xds_wire::View> {
    let hold = xds_wire::Hold { refused: Version::of(b"2"), accepted: resource(Listener, "a", "1") };
    let view = view(revision, &[(Listener, "a", "2"), (Listener, "b", "1")]);
    std::sync::Arc::new(view.holding(revision, std::collections::BTreeMap::from([((Listener, "a".into()), hold)])))
}

#[test]
fn a_refused_content_is_not_sent_to_those_who_do_not_have_it() {
    let mut s = Script::delta(view(1, &[(Listener, "a", "1"), (Listener, "b", "1")])).started(&[], &[]);
    let response = only(s.view(view(2, &[(Listener, "a", "2"), (Listener, "b", "1")])));
    s.refuse(&response, "listener a: no");
    // Whoever has refused it is told to have what it has, which is not the end of the refusal.
    let response = only(s.view(holding(3)));
    assert_eq!(response.resources[0].version, Version::of(b"1"));
    assert!(!s.acknowledge(&response).contains(&Action::Recovered(Listener)));
    let mut fresh = Script::delta(holding(3));
    let response = only(fresh.subscribe(Listener, &[]));
    assert_eq!(brief(&response), "lds: +a +b");
    assert_eq!(response.resources[0].version, Version::of(b"1"));
    // Another content ends both.
    fresh.acknowledge(&response);
    let newest = view(4, &[(Listener, "a", "3"), (Listener, "b", "1")]);
    assert_eq!(briefs(&fresh.view(newest.clone())), ["lds: +a"]);
    let response = only(s.view(newest));
    assert_eq!(s.acknowledge(&response).first(), Some(&Action::Recovered(Listener)));
}

#[test]
fn who_has_accepted_what_another_refuses_keeps_it_and_says_so() {
    let mut s = Script::delta(view(1, &[(Listener, "a", "1"), (Listener, "b", "1")])).started(&[], &[]);
    let response = only(s.view(view(2, &[(Listener, "a", "2"), (Listener, "b", "1")])));
    // Not as long as it may still refuse it.
    assert!(!s.view(holding(3)).contains(&Action::Accepted(Listener, Version::of(b"2"))));
    let actions = s.acknowledge(&response);
    assert!(actions.contains(&Action::Accepted(Listener, Version::of(b"2"))), "{actions:?}");
    assert_eq!(briefs(&actions), [""; 0]);
}

#[test]
fn a_stale_nonce_is_counted_and_its_subscription_honoured() {
    let mut s = Script::delta(view(1, &[(Endpoint, "a", "1"), (Endpoint, "b", "1")])).started(&["a"], &[]);
    let actions = s.send(delta(Endpoint, |r| {
        r.response_nonce = "of another stream".to_owned();
        r.resource_names_subscribe = strings(&["b"]);
    }));
    assert_eq!(observations(&actions), [Observation::ExpiredNonce(Endpoint)]);
    assert_eq!(briefs(&actions), ["eds: +b"]);
}

#[test]
fn a_refusal_may_carry_a_subscription() {
    let mut s = Script::delta(view(1, &[(Endpoint, "a", "1"), (Endpoint, "b", "1")]));
    let first = only(s.subscribe(Endpoint, &["a"]));
    let actions = s.send(delta(Endpoint, |r| {
        r.response_nonce = first.nonce.clone();
        r.error_detail = Some(Default::default());
        r.resource_names_subscribe = strings(&["b"]);
    }));
    assert_eq!(briefs(&actions), ["eds: +b"]);
    assert!(matches!(actions[0], Action::Rejected { .. }));
}

#[test]
fn secrets_only_for_those_who_may_have_them() {
    let rows = [(Secret, "kubernetes://gateway", "key")];
    let mut s = Script::new(view(1, &rows), Protocol::Delta, |settings| settings.secrets = ads::SecretAccess::None);
    let actions = s.subscribe(Secret, &["kubernetes://gateway"]);
    assert_eq!(briefs(&actions), ["sds: -kubernetes://gateway"]);
    assert_eq!(observations(&actions), [Observation::SecretsRefused]);
    assert_eq!(briefs(&Script::delta(view(1, &rows)).subscribe(Secret, &["kubernetes://gateway"])), ["sds: +kubernetes://gateway"]);
    assert_eq!(briefs(&Script::delta(view(1, &rows)).subscribe(Secret, &["*"])), ["sds: "], "nobody gets all of them");
}

#[test]
fn a_refused_secret_costs_no_other_one() {
    let all = |revision, b| view(revision, &[(Secret, "a", "1"), (Secret, "b", b), (Secret, "c", "1")]);
    let one_by_one = ["sds: +a", "sds: +b", "sds: +c"].as_slice();
    // Each acknowledgement of a state-of-the-world client repeats all names, so that it is spared what is not needed.
    let by_halves = ["sds: +a +b +c", "sds: +a", "sds: +b", "sds: +c"].as_slice();
    for (new, expected) in [(Script::delta as fn(_) -> _, one_by_one), (Script::sotw, by_halves)] {
        let mut s = new(all(1, "broken"));
        let first = responses(&s.subscribe(Secret, &["a", "b", "c"]));
        let (sent, said) = s.against(first, "b");
        assert_eq!((sent.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), said), (expected, vec!["b refused".to_owned()]));
        let second = responses(&s.view(all(2, "mended")));
        assert_eq!(s.against(second, "none"), (vec!["sds: +b".to_owned()], vec!["sds recovered".to_owned()]));
    }
}

#[test]
fn a_type_that_is_not_served_is_answered_at_once() {
    let mut s = Script::delta(view(1, &[]));
    let mut request = delta(Cluster, |r| r.resource_names_subscribe = strings(&["x"]));
    request.type_url = "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned();
    let response = only(s.send(request.clone()));
    assert_eq!((response.kind, response.resources.len(), &*response.removed[0]), (None, 0, "x"));
    let acknowledgement = {
        request.resource_names_subscribe.clear();
        request.response_nonce = response.nonce;
        request
    };
    assert_eq!(s.send(acknowledgement), []);
}

#[test]
fn a_peer_may_not_make_us_remember_everything() {
    let limited = |names, bytes| {
        Script::new(view(1, &[]), Protocol::Delta, |settings| {
            settings.limits.names_per_stream = names;
            settings.limits.name_bytes_per_stream = bytes;
        })
    };
    let request = |names: &[&str]| script::Sent::from(delta(Endpoint, |r| r.resource_names_subscribe = strings(names))).0;
    let mut s = limited(2, 100);
    assert!(s.connection.on_request(request(&["a", "b"]), s.now).is_ok());
    assert!(s.connection.on_request(request(&["a"]), s.now).is_ok());
    assert!(s.connection.on_request(request(&["c"]), s.now).is_err());
    let mut s = limited(100, 5);
    assert!(s.connection.on_request(request(&["abc", "def"]), s.now).is_err());
}
