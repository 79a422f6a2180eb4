//! The state-of-the-world protocol, request by request.

mod script;

use ads::{Action, Observation};
use script::*;

#[test]
fn clusters_come_in_full_and_absence_removes() {
    let mut s = Script::sotw(view(1, &[(Cluster, "a", "1"), (Cluster, "b", "1")]));
    let first = only(s.subscribe(Cluster, &[]));
    assert_eq!(brief(&first), "cds: +a +b");
    assert_eq!(briefs(&s.acknowledge(&first)), [""; 0]);
    let second = only(s.view(view(2, &[(Cluster, "a", "1"), (Cluster, "b", "2")])));
    assert_eq!(brief(&second), "cds: +a +b");
    s.acknowledge(&second);
    assert_eq!(briefs(&s.view(view(3, &[(Cluster, "a", "1")]))), ["cds: +a"]);
}

#[test]
fn a_cluster_stays_in_the_set_until_no_route_needs_it() {
    let mut s = Script::sotw(view(1, &[(Cluster, "a", "1"), (Cluster, "b", "1"), (Route, "80", "b")])).started(&["a"], &["80"]);
    let rows = [(Cluster, "a", "2"), (Route, "80", "a")];
    let sent = responses(&s.view(view(2, &rows)));
    assert_eq!(sent.iter().map(brief).collect::<Vec<_>>(), ["cds: +a +b", "rds: +80"]);
    s.acknowledge(&sent[0]);
    assert_eq!(briefs(&s.acknowledge(&sent[1])), ["cds: +a"]);
}

#[test]
fn new_names_are_answered_alone() {
    let mut s = Script::sotw(view(1, &[(Endpoint, "a", "1"), (Endpoint, "b", "1")]));
    let first = only(s.subscribe(Endpoint, &["a"]));
    let names = strings(&["a", "b"]);
    let actions = s.send(sotw(Endpoint, |r| {
        r.response_nonce = first.nonce.clone();
        r.resource_names = names;
    }));
    assert_eq!(briefs(&actions), ["eds: +b"]);
}

#[test]
fn what_does_not_exist_is_answered_empty() {
    let mut s = Script::sotw(view(1, &[(Endpoint, "a", "1")]));
    let routes = only(s.subscribe(Route, &["81"]));
    assert_eq!(brief(&routes), "rds: +81");
    assert_eq!(routes.resources[0].body(), b"\x0a\x0281".as_slice());
    let endpoints = only(s.subscribe(Endpoint, &["a", "x"]));
    assert_eq!(brief(&endpoints), "eds: +a +x");
    s.acknowledge(&routes);
    s.acknowledge(&endpoints);
    let removed = only(s.view(view(2, &[])));
    assert_eq!(brief(&removed), "eds: +a");
    assert_eq!(removed.resources[0].body(), b"\x0a\x01a".as_slice());
}

#[test]
fn a_stale_nonce_is_counted_and_ignored() {
    let mut s = Script::sotw(view(1, &[(Endpoint, "a", "1"), (Endpoint, "b", "1")])).started(&["a"], &[]);
    let pushed = only(s.view(view(2, &[(Endpoint, "a", "2"), (Endpoint, "b", "1")])));
    let stale = s.send(sotw(Endpoint, |r| {
        r.response_nonce = "older".to_owned();
        r.resource_names = strings(&["a", "b"]);
    }));
    assert_eq!(stale, [Action::Observe(Observation::ExpiredNonce(Endpoint))]);
    let actions = s.send(sotw(Endpoint, |r| {
        r.response_nonce = pushed.nonce.clone();
        r.resource_names = strings(&["a", "b"]);
    }));
    assert_eq!(briefs(&actions), ["eds: +b"], "the acknowledgement repeats the names");
}

#[test]
fn a_repeated_request_for_endpoints_is_a_warming_cluster() {
    let mut s = Script::sotw(view(1, &[(Cluster, "a", "1"), (Endpoint, "a", "1")]));
    let clusters = only(s.subscribe(Cluster, &[]));
    let endpoints = only(s.subscribe(Endpoint, &["a"]));
    s.acknowledge(&endpoints);
    s.acknowledge(&clusters);
    assert_eq!(briefs(&s.acknowledge(&endpoints)), [""; 0], "no cluster has come since");
    let mut changed = responses(&s.view(view(2, &[(Cluster, "a", "2"), (Endpoint, "a", "1")])));
    assert_eq!(changed.iter().map(brief).collect::<Vec<_>>(), ["cds: +a", "eds: +a"]);
    let endpoints = changed.remove(1);
    s.acknowledge(&endpoints);
    let again = s.acknowledge(&endpoints);
    assert_eq!(briefs(&again), ["eds: +a"]);
    let again = only(again);
    s.acknowledge(&again);
    assert_eq!(briefs(&s.acknowledge(&again)), [""; 0], "once for each response with clusters");
}

#[test]
fn a_refusal_is_not_answered() {
    let mut s = Script::sotw(view(1, &[(Listener, "l", "1")])).started(&[], &[]);
    let response = only(s.view(view(2, &[(Listener, "l", "2")])));
    let actions = s.refuse(&response, "bad");
    assert!(matches!(actions.as_slice(), [Action::Rejected { .. }, Action::Observe(Observation::Converged(_))]), "{actions:?}");
    assert_eq!(briefs(&s.view(view(3, &[(Listener, "l", "3")]))), ["lds: +l"]);
}

#[test]
fn no_names_after_names_mean_none() {
    let mut s = Script::sotw(view(1, &[(Cluster, "a", "1"), (Cluster, "b", "1")]));
    let named = only(s.subscribe(Cluster, &["a"]));
    assert_eq!(brief(&named), "cds: +a");
    s.send(sotw(Cluster, |r| r.response_nonce = named.nonce.clone()));
    assert_eq!(briefs(&s.view(view(2, &[(Cluster, "a", "2"), (Cluster, "b", "2")]))), [""; 0]);
}
