//! Make before break: which response waits for which acknowledgement, and for how long at most.

mod script;

use ads::{Action, Observation, Response};
use script::*;
use std::{sync::Arc, time::Duration};
use xds_wire::View;

/// A cluster, its endpoints and a route to it; the route's content says which clusters it names.
fn mesh(revision: u64, clusters: &[&str], route: &str) -> Arc<View> {
    let mut rows = vec![(Listener, "l", "1"), (Route, "80", route)];
    for name in clusters {
        rows.push((Cluster, name, "1"));
        rows.push((Endpoint, name, "1"));
    }
    view(revision, &rows)
}

#[test]
fn a_route_waits_for_the_cluster_it_needs() {
    let mut s = Script::delta(mesh(1, &["a"], "a")).started(&["a"], &["80"]);
    let cluster = only(s.view(mesh(2, &["a", "b"], "b")));
    assert_eq!(brief(&cluster), "cds: +b");
    let endpoints = only(s.subscribe(Endpoint, &["b"]));
    assert_eq!(brief(&endpoints), "eds: +b", "Envoy withholds the acknowledgement of the cluster until these come");
    assert_eq!(briefs(&s.acknowledge(&endpoints)), [""; 0]);
    assert_eq!(briefs(&s.acknowledge(&cluster)), ["rds: +80"]);
}

#[test]
fn endpoints_and_what_adds_nothing_hold_back_no_route() {
    let mut s = Script::delta(mesh(1, &["a"], "a")).started(&["a"], &["80"]);
    let changed = view(2, &[(Cluster, "a", "2"), (Endpoint, "a", "2"), (Listener, "l", "1"), (Route, "80", "other")]);
    assert_eq!(briefs(&s.view(changed)), ["cds: +a", "eds: +a", "rds: +80"]);
}

#[test]
fn the_wait_for_an_acknowledgement_ends_after_a_second() {
    let mut s = Script::delta(mesh(1, &["a"], "a")).started(&["a"], &["80"]);
    s.view(mesh(2, &["a", "b"], "b"));
    assert_eq!(briefs(&s.wait(Duration::from_millis(999))), [""; 0]);
    let actions = s.wait(Duration::from_millis(1));
    assert_eq!(briefs(&actions), ["rds: +80"]);
    assert_eq!(observations(&actions), [Observation::OrderWaitRanOut(Route)]);
    assert_eq!(s.wait(Duration::from_secs(60)), []);
}

#[test]
fn a_cluster_is_removed_after_the_routes_that_drop_it() {
    let mut s = Script::delta(mesh(1, &["a", "b"], "b")).started(&["a", "b"], &["80"]);
    let route = only(s.view(mesh(2, &["a"], "a")));
    assert_eq!(brief(&route), "rds: +80");
    let cluster = only(s.acknowledge(&route));
    assert_eq!(brief(&cluster), "cds: -b");
    let endpoints = only(s.acknowledge(&cluster));
    assert_eq!(brief(&endpoints), "eds: -b");
    assert_eq!(briefs(&s.acknowledge(&endpoints)), [""; 0]);
}

#[test]
fn endpoints_that_envoy_gave_up_by_itself_need_no_removal() {
    let mut s = Script::delta(mesh(1, &["a", "b"], "b")).started(&["a", "b"], &["80"]);
    let route = only(s.view(mesh(2, &["a"], "a")));
    let cluster = only(s.acknowledge(&route));
    s.send(delta(Endpoint, |r| r.resource_names_unsubscribe = strings(&["b"])));
    assert_eq!(briefs(&s.acknowledge(&cluster)), [""; 0]);
}

#[test]
fn a_removal_waits_for_a_second_at_most() {
    let mut s = Script::delta(mesh(1, &["a", "b"], "b")).started(&["a"], &["80"]);
    only(s.view(mesh(2, &["a"], "a")));
    let actions = s.wait(Duration::from_secs(1));
    assert_eq!(briefs(&actions), ["cds: -b"]);
    assert_eq!(observations(&actions), [Observation::OrderWaitRanOut(Cluster)]);
}

#[test]
fn a_change_does_not_wait_for_a_removal_beside_it() {
    let mut s = Script::delta(mesh(1, &["a", "b"], "b")).started(&["a", "b"], &["80"]);
    let rows = [(Cluster, "a", "2"), (Endpoint, "a", "1"), (Listener, "l", "1"), (Route, "80", "a")];
    let sent = responses(&s.view(view(2, &rows)));
    assert_eq!(sent.iter().map(brief).collect::<Vec<_>>(), ["cds: +a", "eds: +a", "rds: +80"]);
    assert_eq!(briefs(&s.acknowledge(&sent[1])), [""; 0]);
    assert_eq!(briefs(&s.acknowledge(&sent[0])), [""; 0]);
    assert_eq!(briefs(&s.acknowledge(&sent[2])), ["cds: -b"]);
}

#[test]
fn a_removed_cluster_that_comes_back_meanwhile_was_never_away() {
    let mut s = Script::delta(mesh(1, &["a", "b"], "b")).started(&["a", "b"], &["80"]);
    let route = only(s.view(mesh(2, &["a"], "a")));
    s.view(mesh(3, &["a", "b"], "a"));
    assert_eq!(briefs(&s.acknowledge(&route)), [""; 0]);
}

#[test]
fn endpoints_follow_every_changed_cluster() {
    let mut s = Script::delta(mesh(1, &["a", "b"], "a")).started(&["a"], &["80"]);
    let rows =
        [(Cluster, "a", "2"), (Cluster, "b", "2"), (Endpoint, "a", "1"), (Endpoint, "b", "1"), (Listener, "l", "1"), (Route, "80", "a")];
    let sent = responses(&s.view(view(2, &rows)));
    assert_eq!(sent.iter().map(brief).collect::<Vec<_>>(), ["cds: +a +b", "eds: +a"]);
    let quiet = [s.acknowledge(&sent[1]), s.acknowledge(&sent[0])].concat();
    assert_eq!(briefs(&quiet), [""; 0], "once is enough");
}

#[test]
fn endpoints_follow_even_while_earlier_ones_are_not_acknowledged() {
    let mut s = Script::delta(mesh(1, &["a"], "a")).started(&["a"], &["80"]);
    let with = |revision, cluster, endpoint| {
        view(revision, &[(Cluster, "a", cluster), (Endpoint, "a", endpoint), (Listener, "l", "1"), (Route, "80", "a")])
    };
    assert_eq!(briefs(&s.view(with(2, "1", "2"))), ["eds: +a"]);
    assert_eq!(briefs(&s.view(with(3, "2", "2"))), ["cds: +a", "eds: +a"]);
}

#[test]
fn large_pushes_need_a_permit_that_belongs_to_the_stream() {
    let large = "x".repeat(20_000);
    let rows = |revision, clusters: &str| view(revision, &[(Cluster, "a", clusters), (Endpoint, "a", &large)]);
    let mut s = Script::delta(rows(1, &large));
    assert_eq!(s.subscribe(Cluster, &[]), [Action::AcquirePermit]);
    let cluster = only(s.connection.on_permit(s.now));
    let endpoints = only(s.subscribe(Endpoint, &["a"]));
    assert_eq!(briefs(&s.acknowledge(&endpoints)), [""; 0]);
    assert_eq!(s.acknowledge(&cluster), [Action::ReleasePermit]);
    assert_eq!(briefs(&s.view(rows(2, "small"))), ["cds: +a", "eds: +a"], "small ones and awaited ones need none");
}

#[test]
fn a_permit_returns_after_a_second_without_acknowledgement() {
    let large = "x".repeat(20_000);
    let mut s = Script::delta(view(1, &[(Cluster, "a", &large), (Listener, "l", &large)]));
    s.subscribe(Cluster, &[]);
    only(s.connection.on_permit(s.now));
    let actions = s.wait(Duration::from_secs(1));
    assert_eq!(actions, [Action::ReleasePermit, Action::Observe(Observation::PermitRanOut)]);
    assert_eq!(s.subscribe(Listener, &[]), [Action::AcquirePermit]);
}

#[test]
fn convergence_is_told_when_all_is_acknowledged() {
    let mut s = Script::delta(mesh(1, &["a"], "a")).started(&["a"], &["80"]);
    let route: Response = only(s.view(mesh(2, &["a"], "b")));
    s.wait(Duration::from_millis(30));
    let told = s.acknowledge(&route);
    assert_eq!(told, [Action::Observe(Observation::Converged(Duration::from_millis(30)))]);
}
