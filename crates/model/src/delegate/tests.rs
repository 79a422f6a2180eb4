//! Which matches lie within which, and what of the root stays.

use super::{merge_matches, merge_route};
use istio_api::networking::virtual_service::{HttpMatchRequest, HttpRoute};
use serde_json::{Value, from_value, json};

fn matches(value: Value) -> Vec<HttpMatchRequest> {
    from_value(value).unwrap()
}

fn merged(root: Value, delegate: Value) -> Option<Value> {
    merge_matches(&matches(json!([root])), &matches(json!([delegate]))).map(|merged| json!(merged))
}

#[test]
fn a_match_within_the_roots_is_both() {
    let root = json!({ "uri": { "prefix": "/a" }, "headers": { "x": { "exact": "1" } }, "gateways": ["g/one", "g/two"], "port": 80 });
    let delegate = json!({ "uri": { "exact": "/a/b" }, "headers": { "y": { "regex": "2" } }, "gateways": ["g/two"] });
    let both = json!([{
        "uri": { "exact": "/a/b" }, "headers": { "x": { "exact": "1" }, "y": { "regex": "2" } }, "gateways": ["g/two"], "port": 80
    }]);
    assert_eq!(merged(root, delegate), Some(both));
    assert_eq!(merge_matches(&[], &[]), Some(Vec::new()));
}

#[test]
fn a_match_that_may_reach_beyond_the_roots_is_none() {
    for (root, delegate) in [
        (json!({ "uri": { "prefix": "/a/b" } }), json!({ "uri": { "prefix": "/a" } })),
        (json!({ "uri": { "exact": "/a" } }), json!({ "uri": { "prefix": "/a" } })),
        (json!({ "uri": { "exact": "/a" } }), json!({ "uri": { "exact": "/b" } })),
        (json!({ "uri": { "regex": "/a" } }), json!({ "uri": { "regex": "/a" } })),
        (json!({ "uri": { "prefix": "/a" } }), json!({ "uri": { "regex": "/a.*" } })),
        (json!({ "headers": { "x": {} } }), json!({ "headers": { "x": { "exact": "1" } } })),
        (json!({ "withoutHeaders": { "x": { "exact": "2" } } }), json!({ "withoutHeaders": { "x": { "exact": "1" } } })),
        (json!({ "queryParams": { "x": { "exact": "2" } } }), json!({ "queryParams": { "x": { "exact": "1" } } })),
        (json!({ "ignoreUriCase": true }), json!({ "uri": { "prefix": "/a" } })),
        (json!({ "port": 80 }), json!({ "port": 81 })),
        (json!({ "sourceNamespace": "shop" }), json!({ "uri": { "prefix": "/a" } })),
        (json!({ "sourceLabels": { "app": "a" } }), json!({ "sourceLabels": { "app": "b" } })),
        (json!({ "gateways": ["g/one"] }), json!({ "gateways": ["g/two"] })),
    ] {
        assert_eq!(merged(root.clone(), delegate.clone()), None, "{root} {delegate}");
    }
}

#[test]
fn each_match_of_the_delegate_needs_one_of_the_roots() {
    let root = matches(json!([{ "name": "r", "uri": { "prefix": "/a" } }, { "uri": { "prefix": "/b" } }]));
    let fitting = matches(json!([{ "name": "d", "uri": { "prefix": "/b/1" } }, { "method": { "exact": "GET" } }]));
    let both = matches(json!([
        { "name": "d", "uri": { "prefix": "/b/1" } },
        { "name": "r", "uri": { "prefix": "/a" }, "method": { "exact": "GET" } },
        { "uri": { "prefix": "/b" }, "method": { "exact": "GET" } }
    ]));
    assert_eq!(merge_matches(&root, &fitting), Some(both));
    let one_outside = matches(json!([{ "uri": { "prefix": "/b/1" } }, { "uri": { "prefix": "/c" } }]));
    assert_eq!(merge_matches(&root, &one_outside), None);
}

#[test]
fn the_root_fills_what_the_delegate_leaves_open() {
    let root: HttpRoute = from_value(json!({
        "name": "root", "delegate": { "name": "d" }, "timeout": "5s", "retries": { "attempts": 3 }, "rewrite": { "uri": "/r" }
    }))
    .unwrap();
    let delegate: HttpRoute =
        from_value(json!({ "name": "leaf", "timeout": "1s", "route": [{ "destination": { "host": "a" } }] })).unwrap();
    let wanted = json!({
        "name": "root-leaf", "timeout": "1s", "retries": { "attempts": 3 }, "rewrite": { "uri": "/r" },
        "route": [{ "destination": { "host": "a" } }]
    });
    assert_eq!(json!(merge_route(&root, &delegate, Vec::new())), wanted);
}
