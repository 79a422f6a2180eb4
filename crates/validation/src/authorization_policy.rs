//! AuthorizationPolicy (Istio's `ValidateAuthorizationPolicy` and `pkg/config/security`).

use crate::{
    report::{Field, Report, each},
    selector,
};
use base::Cidr;
use istio_api::{
    Metadata,
    security::authorization_policy::{Action, AuthorizationPolicy, Condition, Operation, Rule, Source},
};

pub(crate) fn validate(report: &mut Report, metadata: &Metadata, policy: &AuthorizationPolicy) {
    let at = Field::Root("spec");
    selector::attachment(report, &at, policy.selector.as_ref(), policy.target_ref.as_ref(), &policy.target_refs);
    let action = policy.action.as_str();
    let custom = policy.action == Action::Custom;
    if policy.rules.is_empty() && (custom || policy.action == Action::Deny) {
        report.error(
            &at.key("rules"),
            format!(
                "{action} action without `rules` is meaningless as it will never be triggered, add an empty rule `{{}}` if you want it \
                 be triggered for every request"
            ),
        );
    }
    match &policy.provider {
        Some(_) if !custom => report.error(&at.key("provider"), format!("`provider` must not be with non CUSTOM action, found {action}")),
        Some(provider) if !provider.name.is_empty() => {}
        _ if custom => report.error(&at.key("provider").key("name"), "`provider.name` must not be empty"),
        _ => {}
    }
    if metadata.annotations.contains_key("istio.io/dry-run") && !matches!(policy.action, Action::Allow | Action::Deny) {
        let name = format!("{}/{}", metadata.namespace, metadata.name);
        report.error(
            &at.key("action"),
            format!("the annotation istio.io/dry-run currently only supports action ALLOW/DENY, found action {action} in {name}"),
        );
    }
    each(report, &at, "rules", &policy.rules, |report, at, rule| validate_rule(report, at, rule, custom));
    if policy.action == Action::Deny {
        denies_all_tcp(report, &at, &policy.rules);
    }
}

fn validate_rule(report: &mut Report, at: &Field<'_>, rule: &Rule, custom: bool) {
    each(report, at, "from", &rule.from, |report, at, from| match &from.source {
        Some(source) => validate_source(report, &at.key("source"), source, custom),
        None => report.error(at, "`from.source` must not be nil"),
    });
    each(report, at, "to", &rule.to, |report, at, to| match &to.operation {
        Some(operation) => validate_operation(report, &at.key("operation"), operation),
        None => report.error(at, "`to.operation` must not be nil"),
    });
    each(report, at, "when", &rule.when, validate_condition);
}

fn no_empty_values(report: &mut Report, at: &Field<'_>, name: &str, values: &[String]) {
    if values.iter().any(String::is_empty) {
        report.error(at, format!("empty value not allowed, found in {name}; \"*\" stands for any non-empty value"));
    }
}

fn validate_source(report: &mut Report, at: &Field<'_>, source: &Source, custom: bool) {
    if *source == Source::default() {
        report.error(at, "`from.source` must have at least one non-empty field; leave `from` out to match every source");
    }
    let lists = [
        ("principals", "Principals", &source.principals),
        ("notPrincipals", "NotPrincipals", &source.not_principals),
        ("requestPrincipals", "RequestPrincipals", &source.request_principals),
        ("notRequestPrincipals", "NotRequestPrincipals", &source.not_request_principals),
        ("namespaces", "Namespaces", &source.namespaces),
        ("notNamespaces", "NotNamespaces", &source.not_namespaces),
        ("serviceAccounts", "ServiceAccounts", &source.service_accounts),
        ("notServiceAccounts", "NotServiceAccounts", &source.not_service_accounts),
        ("ipBlocks", "IpBlocks", &source.ip_blocks),
        ("notIpBlocks", "NotIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", "RemoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", "NotRemoteIpBlocks", &source.not_remote_ip_blocks),
        ("trustDomains", "TrustDomains", &source.trust_domains),
        ("notTrustDomains", "NotTrustDomains", &source.not_trust_domains),
    ];
    for (field, name, values) in lists {
        no_empty_values(report, &at.key(field), name, values);
        if field.ends_with("pBlocks") {
            each(report, at, field, values, ip_block);
        }
    }
    let accounts = !source.service_accounts.is_empty() || !source.not_service_accounts.is_empty();
    let others = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
    if accounts && others.iter().any(|values| !values.is_empty()) {
        report.error(&at.key("serviceAccounts"), "cannot set serviceAccounts with namespaces or principals");
    }
    for (field, values) in [("serviceAccounts", &source.service_accounts), ("notServiceAccounts", &source.not_service_accounts)] {
        each(report, at, field, values, |report, at, account| {
            if account.contains('*') || account.matches('/').count() > 1 {
                report.error(at, format!("service account {account:?} must be a name or namespace/name, without wildcards"));
            }
        });
    }
    // The provider is asked before tokens and identities are known.
    let unusable = [("requestPrincipals", &source.request_principals), ("notRequestPrincipals", &source.not_request_principals)];
    for (field, _) in unusable.iter().filter(|(_, values)| custom && !values.is_empty()) {
        report.error(&at.key(field), format!("{field} is currently not supported in CUSTOM action"));
    }
}

fn ip_block(report: &mut Report, at: &Field<'_>, block: &String) {
    if block.parse::<Cidr>().is_err() {
        report.error(at, format!("bad IP address ({block}); write an address or a range, 10.0.0.0/8"));
    }
}

fn validate_operation(report: &mut Report, at: &Field<'_>, operation: &Operation) {
    if *operation == Operation::default() {
        report.error(at, "`to.operation` must have at least one non-empty field; leave `to` out to match every operation");
    }
    let lists = [
        ("hosts", "Hosts", &operation.hosts),
        ("notHosts", "NotHosts", &operation.not_hosts),
        ("ports", "Ports", &operation.ports),
        ("notPorts", "NotPorts", &operation.not_ports),
        ("methods", "Methods", &operation.methods),
        ("notMethods", "NotMethods", &operation.not_methods),
        ("paths", "Paths", &operation.paths),
        ("notPaths", "NotPaths", &operation.not_paths),
    ];
    for (field, name, values) in lists {
        no_empty_values(report, &at.key(field), name, values);
        each(report, at, field, values, |report, at, text| match name {
            "Ports" | "NotPorts" => bad_port(report, at, text),
            "Paths" | "NotPaths" => path_template(report, at, text),
            _ => {}
        });
    }
}

fn bad_port(report: &mut Report, at: &Field<'_>, text: &str) {
    if !text.parse::<u32>().is_ok_and(|number| (1..=65535).contains(&number)) {
        report.error(at, format!("bad port ({text}); write a number from 1 to 65535 in quotes"));
    }
}

/// `{*}` stands for one segment and `{**}` for any number, once, as the last operator; each must be a whole segment.
fn path_template(report: &mut Report, at: &Field<'_>, path: &str) {
    let is_template = path.contains("{*}") || path.contains("{**}");
    if !is_template {
        return;
    }
    let mut ended = false;
    for segment in path.split('/') {
        let operator = segment == "{*}" || segment == "{**}";
        if !operator && segment.contains(['{', '}', '*']) {
            report.error(at, format!("invalid or unsupported path {path}. Contains '{{', '}}' or '*' beyond a supported path template"));
            return;
        }
        if ended && operator {
            report.error(at, format!("invalid or unsupported path {path}. {{**}} is not the last operator"));
            return;
        }
        ended |= segment == "{**}";
    }
}

/// Attributes that stand alone.
const ATTRIBUTES: [&str; 13] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.serviceAccount",
    "source.trustDomain",
    "source.user",
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
];

/// Attributes of which a part in brackets is asked.
const MAP_ATTRIBUTES: [&str; 3] = ["request.headers[", "request.auth.claims[", "experimental.envoy.filters."];

fn validate_condition(report: &mut Report, at: &Field<'_>, condition: &Condition) {
    let key = condition.key.as_str();
    if key.is_empty() {
        report.error(&at.key("key"), "`key` must not be empty");
        return;
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        report.error(at, "at least one of `values` or `notValues` must be set");
    }
    let known = ATTRIBUTES.contains(&key) || MAP_ATTRIBUTES.iter().any(|prefix| key.starts_with(prefix) && key.ends_with(']'));
    for (field, name, values) in [("values", "value", &condition.values), ("notValues", "notValue", &condition.not_values)] {
        if values.is_empty() {
            continue;
        }
        let at = at.key(field);
        if !known {
            report.error(&at, format!("invalid `{name}` for `key` {key}: unknown attribute: {key}"));
        } else if values.iter().any(String::is_empty) {
            report.error(&at, format!("invalid `{name}` for `key` {key}: empty value not allowed, found in {key}"));
        }
        for text in values.iter().filter(|text| !text.is_empty()) {
            match key {
                "source.ip" | "remote.ip" | "destination.ip" => ip_block(report, &at, text),
                "destination.port" => bad_port(report, &at, text),
                _ => {}
            }
        }
    }
}

/// On a TCP port a DENY rule keeps going without the attributes of HTTP, and so denies everything if it has no other.
fn denies_all_tcp(report: &mut Report, at: &Field<'_>, rules: &[Rule]) {
    let source_is_http = |source: &Source| {
        let http = Source {
            request_principals: source.request_principals.clone(),
            not_request_principals: source.not_request_principals.clone(),
            ..Source::default()
        };
        *source == http && *source != Source::default()
    };
    let operation_is_http =
        |operation: &Operation| operation.ports.is_empty() && operation.not_ports.is_empty() && *operation != Operation::default();
    let condition_is_http = |condition: &Condition| condition.key.starts_with("request.");
    let only_http = |rule: &Rule| {
        let from = rule.from.iter().any(|from| from.source.as_ref().is_some_and(source_is_http));
        let to = rule.to.iter().any(|to| to.operation.as_ref().is_some_and(operation_is_http));
        let when = !rule.when.is_empty() && rule.when.iter().all(condition_is_http);
        from || to || when
    };
    each(report, at, "rules", rules, |report, at, rule| {
        if only_http(rule) {
            report.warning(
                at,
                "configured AuthorizationPolicy will deny all traffic to TCP ports under its scope due to the use of only HTTP attributes \
                 in a DENY rule; it is recommended to explicitly specify the port",
            );
        }
    });
}
