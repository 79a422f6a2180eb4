//! The filters of authorization, in the order in which they decide: CUSTOM, then AUDIT, DENY and ALLOW (Istio's
//! `authz/builder`).

use super::condition::{Matcher, RuleScope};
use super::inputs::{AuthorizationInputs, Authorizer, CustomPolicies, PolicyInputs};
use super::{external, rule};
use crate::filter::order::HttpFilterPosition;
use crate::filter::{http, network};
use xds_api::envoy::config::listener::v3::Filter;
use xds_api::envoy::config::rbac::v3::{Permission, Policy, Principal, Rbac, rbac::Action};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// Before the names of CUSTOM policies, by which the filter after them knows that it is asked.
const CUSTOM_PREFIX: &str = "istio-ext-authz-";
/// After the names of policies whose provider cannot be asked.
const REFUSED_SUFFIX: &str = "-deny-due-to-bad-CUSTOM-action";
/// Before the keys under which rules of CUSTOM leave their result.
const CUSTOM_RESULT_PREFIX: &str = "istio_ext_authz_";
/// What Envoy adds to them for the name of the policy that matched.
const POLICY_KEY: &str = "shadow_effective_policy_id";

/// The rules of one filter.
#[derive(Default)]
struct Rules {
    /// Those that decide.
    enforced: Option<Rbac>,
    /// Those that are only counted.
    shadow: Option<Rbac>,
    /// Before the names of their statistics and results.
    shadow_prefix: &'static str,
}

/// The filters of HTTP chains.
pub fn http_filters(inputs: &AuthorizationInputs<'_>) -> Vec<(HttpFilterPosition, HttpFilter)> {
    let mut out = Vec::new();
    for custom in &inputs.custom {
        let rules = custom_rules(custom, inputs, false);
        out.push((HttpFilterPosition::CustomAuthorization, http_rbac(rules)));
        if let Some(authorizer) = &custom.authorizer {
            let asked_for = external::asked_for(http::rbac::NAME, &result_key(), &custom_prefix(custom.provider));
            out.push((HttpFilterPosition::CustomAuthorization, external::http(authorizer, asked_for)));
        }
    }
    let decided = decided(inputs, false).into_iter().map(|rules| (HttpFilterPosition::Authorization, http_rbac(rules)));
    out.extend(decided);
    out
}

/// The filters of TCP chains, which stand before the one that knows the protocol.
pub fn tcp_filters(inputs: &AuthorizationInputs<'_>) -> Vec<Filter> {
    let mut out = Vec::new();
    for custom in &inputs.custom {
        let rules = custom_rules(custom, inputs, true);
        match &custom.authorizer {
            // It knows nothing of connections, so they are not its business.
            Some(Authorizer::Http { .. }) => {}
            Some(authorizer @ Authorizer::Grpc { .. }) => {
                let asked_for = external::asked_for(network::rbac::NAME, &result_key(), &custom_prefix(custom.provider));
                out.push(tcp_rbac(rules));
                out.extend(external::tcp(authorizer, asked_for));
            }
            None => out.push(tcp_rbac(rules)),
        }
    }
    out.extend(decided(inputs, true).into_iter().map(tcp_rbac));
    out
}

fn http_rbac(rules: Rules) -> HttpFilter {
    http::rbac::rbac(rules.enforced, rules.shadow, rules.shadow_prefix)
}

fn tcp_rbac(rules: Rules) -> Filter {
    network::rbac::rbac(rules.enforced, rules.shadow, rules.shadow_prefix)
}

/// AUDIT, DENY, ALLOW, of each only what there is.
fn decided(inputs: &AuthorizationInputs<'_>, tcp: bool) -> Vec<Rules> {
    let actions = [(Action::Log, &inputs.audit), (Action::Deny, &inputs.deny), (Action::Allow, &inputs.allow)];
    let filter = |(action, policies): (Action, &Vec<PolicyInputs<'_>>)| {
        let of = |dry_run: bool| {
            let policies: Vec<_> = policies.iter().filter(|policy| policy.dry_run == dry_run).collect();
            (!policies.is_empty()).then(|| rbac(action, &policies, "", inputs, tcp))
        };
        let (enforced, shadow) = (of(false), of(true));
        // Istio names it after the shadow rules, which count as ALLOW where there are none.
        let shadow_prefix = match shadow.as_ref().map_or(Action::Allow as i32, |rules| rules.action) {
            action if action == Action::Allow as i32 => "istio_dry_run_allow_",
            action if action == Action::Deny as i32 => "istio_dry_run_deny_",
            _ => "",
        };
        (!policies.is_empty()).then_some(Rules { enforced, shadow, shadow_prefix })
    };
    actions.into_iter().filter_map(filter).collect()
}

/// The rules of CUSTOM decide nothing themselves: they leave the name of the policy that matched, and the filter after
/// them asks the provider if there is one. What cannot be asked is refused. (A dry run of CUSTOM does not exist.)
fn custom_rules(custom: &CustomPolicies<'_>, inputs: &AuthorizationInputs<'_>, tcp: bool) -> Rules {
    let policies: Vec<_> = custom.policies.iter().collect();
    let mut rules = rbac(Action::Deny, &policies, &custom_prefix(custom.provider), inputs, tcp);
    if custom.authorizer.is_some() {
        return Rules { enforced: None, shadow: Some(rules), shadow_prefix: CUSTOM_RESULT_PREFIX };
    }
    rules.policies = rules.policies.into_iter().map(|(name, policy)| (name + REFUSED_SUFFIX, policy)).collect();
    Rules { enforced: Some(rules), ..Rules::default() }
}

fn custom_prefix(provider: &str) -> String {
    format!("{CUSTOM_PREFIX}{provider}")
}

fn result_key() -> String {
    format!("{CUSTOM_RESULT_PREFIX}{POLICY_KEY}")
}

/// All rules of the policies, under names that access logs show.
fn rbac(action: Action, policies: &[&PolicyInputs<'_>], prefix: &str, inputs: &AuthorizationInputs<'_>, tcp: bool) -> Rbac {
    let mut out = Rbac { action: action.into(), ..Rbac::default() };
    for policy in policies {
        let PolicyInputs { namespace, name: policy_name, .. } = policy;
        let dash = if prefix.is_empty() { "" } else { "-" };
        let name = |index: usize| format!("{prefix}{dash}ns[{namespace}]-policy[{policy_name}]-rule[{index}]");
        let scope = RuleScope { namespace, trust_domains: &inputs.trust_domains, tcp, strict: action == Action::Allow };
        for (index, rule) in policy.rules.iter().enumerate() {
            if let Ok(policy) = rule::policy(rule, &scope) {
                out.policies.insert(name(index), policy);
            }
        }
        if policy.rules.is_empty() {
            out.policies.insert(name(0), never());
        }
    }
    out
}

/// What a policy without rules matches: so an ALLOW of nothing is there, and everything is refused.
fn never() -> Policy {
    Policy { permissions: vec![Permission::any().negated()], principals: vec![Principal::any().negated()], ..Policy::default() }
}
