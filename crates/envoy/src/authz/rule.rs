//! From a rule of a policy to Envoy's form (Istio's `authz/model`).

use super::condition::{Attribute, Condition, RuleScope, Unchecked, all};
use super::permission::Target;
use super::principal::Source;
use istio_api::security::authorization_policy::{Operation, Rule, Source as SourceFields};
use xds_api::envoy::config::rbac::v3::Policy;

type Sources<'a> = Vec<Condition<'a, Source<'a>>>;
type Targets<'a> = Vec<Condition<'a, Target<'a>>>;

/// The policy of Envoy that a rule becomes.
///
/// # Errors
/// [`Unchecked`] for a rule that must not match anything, because its conditions cannot be checked: an attribute that does
/// not exist, or, if the scope is strict, anything else.
pub fn policy(rule: &Rule, scope: &RuleScope<'_>) -> Result<Policy, Unchecked> {
    let (base_sources, base_targets) = conditions(rule)?;
    let mut principals = Vec::new();
    for from in &rule.from {
        let mut sources = from.source.as_ref().map(sources).unwrap_or_default();
        sources.extend(base_sources.iter().cloned());
        principals.push(all(&sources, scope)?);
    }
    if rule.from.is_empty() {
        principals.push(all(&base_sources, scope)?);
    }
    let mut permissions = Vec::new();
    for to in &rule.to {
        let mut targets = to.operation.as_ref().map(targets).unwrap_or_default();
        targets.extend(base_targets.iter().cloned());
        permissions.push(all(&targets, scope)?);
    }
    if rule.to.is_empty() {
        permissions.push(all(&base_targets, scope)?);
    }
    Ok(Policy { permissions, principals, ..Policy::default() })
}

/// The `when` of a rule: conditions of who asks, and of what is asked for.
fn conditions(rule: &Rule) -> Result<(Sources<'_>, Targets<'_>), Unchecked> {
    let (mut sources, mut targets) = (Vec::new(), Vec::new());
    for when in &rule.when {
        let (values, not_values) = (when.values.as_slice(), when.not_values.as_slice());
        match attribute(&when.key)? {
            Either::Source(attribute) => sources.push(Condition { attribute, values, not_values }),
            Either::Target(attribute) => targets.push(Condition { attribute, values, not_values }),
        }
    }
    Ok((sources, targets))
}

enum Either<'a> {
    Source(Source<'a>),
    Target(Target<'a>),
}

/// The attribute of a condition's key.
fn attribute(key: &str) -> Result<Either<'_>, Unchecked> {
    let source = |source| Ok(Either::Source(source));
    let target = |target| Ok(Either::Target(target));
    match key {
        "source.ip" => return source(Source::Ip),
        "remote.ip" => return source(Source::RemoteIp),
        "source.namespace" => return source(Source::Namespace),
        "source.serviceAccount" => return source(Source::ServiceAccount),
        "source.trustDomain" => return source(Source::TrustDomain),
        "source.principal" => return source(Source::Principal),
        "request.auth.principal" => return source(Source::RequestPrincipal),
        "request.auth.audiences" => return source(Source::Claim(vec!["aud"])),
        "request.auth.presenter" => return source(Source::Claim(vec!["azp"])),
        "destination.ip" => return target(Target::Ip),
        "destination.port" => return target(Target::Port),
        "connection.sni" => return target(Target::ServerName),
        _ => {}
    }
    if let Some(rest) = key.strip_prefix("request.headers") {
        return source(Source::Header(bracketed(rest)?));
    }
    if let Some(rest) = key.strip_prefix("request.experimental.inline.headers") {
        return source(Source::ListHeader(bracketed(rest)?));
    }
    if let Some(rest) = key.strip_prefix("request.auth.claims") {
        return source(Source::Claim(nested(rest)?));
    }
    let filter = key.strip_prefix("experimental.").filter(|rest| rest.starts_with("envoy.filters.")).ok_or(Unchecked)?;
    let (filter, key) = filter.trim_end_matches(']').split_once('[').ok_or(Unchecked)?;
    target(Target::Metadata { filter, key })
}

/// The name in `[name]`.
fn bracketed(text: &str) -> Result<&str, Unchecked> {
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(Unchecked)
}

/// The names in `[a][b]`. A name with brackets of its own can only stand alone.
fn nested(text: &str) -> Result<Vec<&str>, Unchecked> {
    let inner = bracketed(text)?;
    let names: Vec<&str> = inner.split("][").collect();
    Ok(if names.iter().any(|name| name.contains(['[', ']'])) { vec![inner] } else { names })
}

/// The attributes of a source, in Istio's order; those without any value are not there.
fn sources(source: &SourceFields) -> Sources<'_> {
    let fields = [
        (Source::Principal, &source.principals, &source.not_principals),
        (Source::RequestPrincipal, &source.request_principals, &source.not_request_principals),
        (Source::TrustDomain, &source.trust_domains, &source.not_trust_domains),
        (Source::ServiceAccount, &source.service_accounts, &source.not_service_accounts),
        (Source::Namespace, &source.namespaces, &source.not_namespaces),
        (Source::RemoteIp, &source.remote_ip_blocks, &source.not_remote_ip_blocks),
        (Source::Ip, &source.ip_blocks, &source.not_ip_blocks),
    ];
    fields.into_iter().map(|(attribute, values, not_values)| Condition { attribute, values, not_values }).collect()
}

/// The attributes of an operation, likewise.
fn targets(operation: &Operation) -> Targets<'_> {
    let fields = [
        (Target::Host, &operation.hosts, &operation.not_hosts),
        (Target::Method, &operation.methods, &operation.not_methods),
        (Target::Path, &operation.paths, &operation.not_paths),
        (Target::Port, &operation.ports, &operation.not_ports),
    ];
    fields.into_iter().map(|(attribute, values, not_values)| Condition { attribute, values, not_values }).collect()
}

/// Where a rule asks for what only requests have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpField {
    /// `from[…].source`
    Source(usize),
    /// `to[…].operation`
    Operation(usize),
    /// `when[…]`
    Condition(usize),
}

/// The parts of a rule that mean nothing on a TCP chain: a rule of `ALLOW` with any of them allows nothing there, and every
/// other rule matches without them.
pub fn http_fields(rule: &Rule) -> Vec<HttpField> {
    fn used<A: Attribute>(condition: &Condition<'_, A>) -> bool {
        condition.attribute.is_http() && !(condition.values.is_empty() && condition.not_values.is_empty())
    }
    let mut out = Vec::new();
    for (index, from) in rule.from.iter().enumerate() {
        if from.source.as_ref().is_some_and(|source| sources(source).iter().any(used)) {
            out.push(HttpField::Source(index));
        }
    }
    for (index, to) in rule.to.iter().enumerate() {
        if to.operation.as_ref().is_some_and(|operation| targets(operation).iter().any(used)) {
            out.push(HttpField::Operation(index));
        }
    }
    for (index, when) in rule.when.iter().enumerate() {
        let http = match attribute(&when.key) {
            Ok(Either::Source(source)) => source.is_http(),
            Ok(Either::Target(target)) => target.is_http(),
            Err(Unchecked) => false,
        };
        if http {
            out.push(HttpField::Condition(index));
        }
    }
    out
}
