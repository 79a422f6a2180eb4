use super::{AuthorizationInputs, PolicyInputs, http_filters, tcp_filters, trust_domain};
use istio_api::security::authorization_policy::Rule;
use serde_json::{Value, from_value, json};
use xds_api::Wire;
use xds_api::envoy::config::rbac::v3::Rbac as Rules;
use xds_api::envoy::extensions::filters::{
    http::rbac::v3::Rbac, network::http_connection_manager::v3::http_filter, network::rbac::v3::Rbac as TcpRbac,
};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_principal_of_one_alias_is_one_of_all() {
    let own = ["new.example", "old.example"];
    let of = |principal: &str| trust_domain::of_principals(&texts(&[principal]), &own);
    let both = ["new.example/ns/shop/sa/web", "old.example/ns/shop/sa/web"];
    assert_eq!(of("old.example/ns/shop/sa/web"), both);
    assert_eq!(of("cluster.local/ns/shop/sa/web"), both);
    assert_eq!(of("other.example/ns/shop/sa/web"), ["other.example/ns/shop/sa/web"]);
    assert_eq!(of("*/ns/shop/sa/web"), ["*/ns/shop/sa/web"]);
    // A wildcard that covers an alias stands for it, beside the others by name.
    assert_eq!(of("*d.example/ns/shop/sa/web"), ["new.example/ns/shop/sa/web", "*d.example/ns/shop/sa/web"]);
    // No identity of five parts has no trust domain.
    assert_eq!(of("old.example/web"), ["old.example/web"]);
}

#[test]
fn trust_domains_have_aliases_too() {
    let of = |domain: &str| trust_domain::of_trust_domains(&texts(&[domain]), &["new.example", "old.example"]);
    assert_eq!(of("old.example"), ["new.example", "old.example"]);
    assert_eq!(of("*"), ["*"]);
    assert_eq!(of("old*"), ["new.example", "old*"]);
    assert_eq!(of("other"), ["other"]);
}

fn rules(rules: Value) -> Vec<Rule> {
    from_value(rules).unwrap()
}

fn inputs(rules: &[Rule], deny: bool) -> AuthorizationInputs<'_> {
    let policy = vec![PolicyInputs { namespace: "shop", name: "p", dry_run: false, rules }];
    match deny {
        true => AuthorizationInputs { trust_domains: vec!["cluster.local"], deny: policy, ..AuthorizationInputs::default() },
        false => AuthorizationInputs { trust_domains: vec!["cluster.local"], allow: policy, ..AuthorizationInputs::default() },
    }
}

/// The names of the policies in the only filter, of HTTP and of TCP.
fn names(rules: &[Rule], deny: bool) -> (Vec<String>, Vec<String>) {
    let inputs = inputs(rules, deny);
    let names = |rules: Option<Rules>| rules.unwrap().policies.into_keys().collect();
    let [(_, filter)] = http_filters(&inputs).try_into().unwrap();
    let Some(http_filter::ConfigType::TypedConfig(any)) = filter.config_type else { panic!("no configuration") };
    let http = Rbac::from_bytes(&any.value).unwrap().rules;
    let [filter] = tcp_filters(&inputs).try_into().unwrap();
    let Some(xds_api::envoy::config::listener::v3::filter::ConfigType::TypedConfig(any)) = filter.config_type else {
        panic!("no configuration")
    };
    (names(http), names(TcpRbac::from_bytes(&any.value).unwrap().rules))
}

#[test]
fn what_cannot_be_checked_errs_on_the_safe_side() {
    let of_requests = rules(json!([{ "to": [{ "operation": { "methods": ["GET"] } }] }]));
    let wrong = rules(json!([
        { "to": [{ "operation": { "paths": ["/{**}/x/{*}"] } }] },
        { "from": [{ "source": { "ipBlocks": ["everywhere"] } }] },
        { "when": [{ "key": "request.headers[]", "values": ["x"] }] },
    ]));
    let all = |count| (0..count).map(|index| format!("ns[shop]-policy[p]-rule[{index}]")).collect::<Vec<_>>();
    assert_eq!(names(&of_requests, false), (all(1), vec![]));
    assert_eq!(names(&of_requests, true), (all(1), all(1)));
    assert_eq!(names(&wrong, false), (vec![], vec![]));
    assert_eq!(names(&wrong, true), (all(3), all(3)));
    // An attribute that does not exist makes a rule nothing at all.
    let unknown = rules(json!([{ "when": [{ "key": "request.color", "values": ["red"] }] }]));
    assert_eq!(names(&unknown, true), (vec![], vec![]));
}
