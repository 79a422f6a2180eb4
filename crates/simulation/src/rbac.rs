//! Envoy's engine of role-based access control: which policy matches, and what follows.

use crate::{call::Call, header_match, metadata::Metadata, text_match};
use ipnet::IpNet;
use std::net::IpAddr;
use xds_api::Wire;
use xds_api::envoy::{
    config::{
        core::v3::{CidrRange, TypedExtensionConfig},
        rbac::v3::{Permission, Principal, Rbac, permission::Rule, principal::Identifier, rbac::Action},
    },
    extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig,
    r#type::matcher::v3::{PathMatcher, StringMatcher, path_matcher},
};

/// What the conditions look at.
pub struct Subject<'a> {
    /// The call, with a normalized path.
    pub call: &'a Call,
    /// Whether the proxy ends TLS, so that it knows the peer's certificate and the server name.
    pub decrypted: bool,
    /// The address of the client, as proxies on the way tell.
    pub remote: IpAddr,
    /// What filters have left.
    pub metadata: &'a Metadata,
}

/// What the rules say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Whether the call may go on.
    pub allowed: bool,
    /// The policy that matched: of several the first by name.
    pub policy: Option<String>,
}

/// Applies the rules.
pub fn decide(rules: &Rbac, subject: &Subject<'_>) -> Verdict {
    let matching = rules.policies.iter().find(|(_, policy)| {
        policy.permissions.iter().any(|wanted| permission(wanted, subject))
            && policy.principals.iter().any(|wanted| principal(wanted, subject))
    });
    let policy = matching.map(|(name, _)| name.clone());
    let allowed = match Action::try_from(rules.action) {
        Ok(Action::Allow) => policy.is_some(),
        Ok(Action::Deny) => policy.is_none(),
        Ok(Action::Log) | Err(_) => true,
    };
    Verdict { allowed, policy }
}

fn permission(wanted: &Permission, subject: &Subject<'_>) -> bool {
    let call = subject.call;
    match &wanted.rule {
        Some(Rule::AndRules(set)) => set.rules.iter().all(|rule| permission(rule, subject)),
        Some(Rule::OrRules(set)) => set.rules.iter().any(|rule| permission(rule, subject)),
        Some(Rule::NotRule(rule)) => !permission(rule, subject),
        Some(Rule::Any(any)) => *any,
        Some(Rule::Header(matcher)) => header_match::header(matcher, call),
        Some(Rule::UrlPath(matcher)) => path(matcher, call),
        Some(Rule::UriTemplate(template)) => uri_template(template, call.path_only()),
        Some(Rule::DestinationIp(range)) => within(range, call.address),
        Some(Rule::DestinationPort(port)) => *port == u32::from(call.port),
        Some(Rule::DestinationPortRange(range)) => (range.start..range.end).contains(&i32::from(call.port)),
        Some(Rule::RequestedServerName(matcher)) => text_match::matches(matcher, &call.server_name),
        Some(Rule::SourcedMetadata(sourced)) => sourced.metadata_matcher.as_ref().is_some_and(|matcher| subject.metadata.matches(matcher)),
        // Extensions and deprecated forms, which are never built here.
        Some(Rule::Matcher(_)) | Some(_) | None => false,
    }
}

fn principal(wanted: &Principal, subject: &Subject<'_>) -> bool {
    let call = subject.call;
    match &wanted.identifier {
        Some(Identifier::AndIds(set)) => set.ids.iter().all(|id| principal(id, subject)),
        Some(Identifier::OrIds(set)) => set.ids.iter().any(|id| principal(id, subject)),
        Some(Identifier::NotId(id)) => !principal(id, subject),
        Some(Identifier::Any(any)) => *any,
        Some(Identifier::Authenticated(wanted)) => authenticated(wanted.principal_name.as_ref(), subject),
        Some(Identifier::DirectRemoteIp(range)) => within(range, call.source),
        Some(Identifier::RemoteIp(range)) => within(range, subject.remote),
        Some(Identifier::Header(matcher)) => header_match::header(matcher, call),
        Some(Identifier::UrlPath(matcher)) => path(matcher, call),
        Some(Identifier::SourcedMetadata(sourced)) => {
            sourced.metadata_matcher.as_ref().is_some_and(|matcher| subject.metadata.matches(matcher))
        }
        // Filter state, extensions and deprecated forms, which are never built here.
        Some(_) | None => false,
    }
}

/// By the identity in a certificate that the peer has presented.
fn authenticated(name: Option<&StringMatcher>, subject: &Subject<'_>) -> bool {
    let identity = &subject.call.principal;
    subject.decrypted && !identity.is_empty() && name.is_none_or(|name| text_match::matches(name, identity))
}

fn path(matcher: &PathMatcher, call: &Call) -> bool {
    match &matcher.rule {
        Some(path_matcher::Rule::Path(wanted)) => text_match::matches(wanted, call.path_only()),
        None => false,
    }
}

fn within(range: &CidrRange, address: IpAddr) -> bool {
    let length = range.prefix_len.map_or(0, |length| length.value);
    let network = range.address_prefix.parse().ok().zip(u8::try_from(length).ok());
    network.and_then(|(prefix, length)| IpNet::new(prefix, length).ok()).is_some_and(|network| network.contains(&address))
}

/// `*` is one element that is not empty, `**` any number of them (`uri_template_match.proto`).
fn uri_template(template: &TypedExtensionConfig, path: &str) -> bool {
    let config = template.typed_config.as_ref().and_then(|any| UriTemplateMatchConfig::from_bytes(&any.value).ok());
    config.is_some_and(|config| {
        let wanted: Vec<&str> = config.path_template.split('/').collect();
        elements(&wanted, &path.split('/').collect::<Vec<_>>())
    })
}

fn elements(wanted: &[&str], path: &[&str]) -> bool {
    match (wanted.split_first(), path.split_first()) {
        (None, None) => true,
        // It stands for characters, slashes among them, and for none of them.
        (Some((&"**", rest)), _) => (1..=path.len()).any(|count| path.get(count..).is_some_and(|left| elements(rest, left))),
        (Some((&"*", rest)), Some((element, left))) => !element.is_empty() && elements(rest, left),
        (Some((literal, rest)), Some((element, left))) => literal == element && elements(rest, left),
        _ => false,
    }
}
