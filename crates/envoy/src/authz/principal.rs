//! Who asks: the attributes of a rule's sources, and those conditions that say where a request comes from.

use super::condition::{Attribute, Matcher, RuleScope, Unchecked, each_value, principal};
use super::permission::{dynamic, header, list_of, metadata, one_of, text_value};
use super::{identity, text, trust_domain};
use crate::filter::http::jwt_authn;
use crate::listener::chain_match::cidr_range;
use xds_api::envoy::config::{
    rbac::v3::{
        Principal,
        principal::{Authenticated, Identifier},
    },
    route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier},
};
use xds_api::envoy::r#type::matcher::v3::StringMatcher;

/// An attribute of who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source<'a> {
    /// The address of the peer.
    Ip,
    /// The address of the client, as proxies on the way tell.
    RemoteIp,
    /// The namespace in the peer's identity.
    Namespace,
    /// The service account there.
    ServiceAccount,
    /// The trust domain there.
    TrustDomain,
    /// The identity itself.
    Principal,
    /// Issuer and subject of the token.
    RequestPrincipal,
    /// A claim of the token, by its path.
    Claim(Vec<&'a str>),
    /// A header.
    Header(&'a str),
    /// A header with a list of values separated by commas.
    ListHeader(&'a str),
}

impl Attribute for Source<'_> {
    type Matcher = Principal;

    fn is_http(&self) -> bool {
        matches!(self, Self::RequestPrincipal | Self::Claim(_) | Self::Header(_) | Self::ListHeader(_))
    }

    fn any_of(&self, values: &[String], scope: &RuleScope<'_>) -> Result<Option<Principal>, Unchecked> {
        let domains = scope.trust_domains;
        match self {
            Self::Ip => each_value(values, scope, |value| address(value).map(|range| principal(Identifier::DirectRemoteIp(range)))),
            Self::RemoteIp => each_value(values, scope, |value| address(value).map(|range| principal(Identifier::RemoteIp(range)))),
            Self::Namespace => each_value(values, scope, |value| Ok(authenticated(identity::namespace(value)))),
            Self::ServiceAccount => each_value(values, scope, |value| Ok(authenticated(identity::service_account(value, scope.namespace)))),
            Self::TrustDomain => {
                let values = trust_domain::of_trust_domains(values, domains);
                each_value(&values, scope, |value| Ok(authenticated(identity::trust_domain(value))))
            }
            Self::Principal => {
                let values = trust_domain::of_principals(values, domains);
                each_value(&values, scope, |value| Ok(authenticated(identity::principal(value))))
            }
            Self::RequestPrincipal => request_principals(values, scope),
            Self::Claim(path) => match claim(path, values) {
                Ok(matcher) => Ok(Some(matcher)),
                Err(unchecked) if scope.strict => Err(unchecked),
                Err(Unchecked) => Ok(None),
            },
            Self::Header(name) => each_value(values, scope, |value| {
                check_header_name(name)?;
                Ok(principal(Identifier::Header(header(name, value, false))))
            }),
            Self::ListHeader(name) => each_value(values, scope, |value| {
                check_header_name(name)?;
                Ok(principal(Identifier::Header(list_header(name, value))))
            }),
        }
    }
}

fn address(value: &str) -> Result<xds_api::envoy::config::core::v3::CidrRange, Unchecked> {
    value.parse().map(|cidr| cidr_range(&cidr)).map_err(|_| Unchecked)
}

/// The identity in the peer's certificate. Without mutual TLS there is none, and nothing matches.
fn authenticated(name: StringMatcher) -> Principal {
    principal(Identifier::Authenticated(Authenticated { principal_name: Some(name) }))
}

/// Envoy refuses what is no name of a header.
fn check_header_name(name: &str) -> Result<(), Unchecked> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let rest = name.strip_prefix(':').unwrap_or(name);
    if rest.is_empty() || !rest.chars().all(token) { Err(Unchecked) } else { Ok(()) }
}

/// One of the elements of a header's list has such a value.
fn list_header(name: &str, value: &str) -> HeaderMatcher {
    if value == "*" {
        return header(name, value, false);
    }
    let element = match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(end), _) => format!(".*{}", text::quote(end)),
        (None, Some(start)) => format!("{}.*", text::quote(start)),
        (None, None) => text::quote(value),
    };
    let regex = text::regex(format!("^{element}$|^{element},.*|.*,{element},.*|.*,{element}$"));
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(regex)),
        ..HeaderMatcher::default()
    }
}

/// `issuer/subject`, each of them also with a wildcard: the issuer at its begin, the subject at its end.
fn request_principals(values: &[String], scope: &RuleScope<'_>) -> Result<Option<Principal>, Unchecked> {
    let mut principals = Vec::new();
    for value in values {
        let (issuer, subject) = issuer_and_subject(value);
        let claim = |name, text| match metadata(jwt_authn::NAME, &[jwt_authn::PAYLOAD, name], text_value(text)) {
            Ok(matcher) => Ok(principal(Identifier::SourcedMetadata(dynamic(matcher)))),
            Err(unchecked) => Err(unchecked),
        };
        match (claim("iss", issuer), claim("sub", subject)) {
            (Ok(issuer), Ok(subject)) => principals.push(Principal::all(vec![issuer, subject])),
            _ if scope.strict => return Err(Unchecked),
            _ => {}
        }
    }
    Ok(match <[Principal; 1]>::try_from(principals) {
        Ok([only]) => Some(only),
        Err(principals) if principals.is_empty() => None,
        Err(principals) => Some(Principal::either(principals)),
    })
}

/// Split at the last slash, as an issuer may be a URL. A value without one is an issuer without a subject.
fn issuer_and_subject(value: &str) -> (StringMatcher, StringMatcher) {
    let any = || text::regex(".+");
    if value == "*" {
        return (any(), any());
    }
    let parts = value.rsplit_once('/');
    match (value.strip_prefix('*'), value.strip_suffix('*'), parts) {
        (Some(_), _, Some(("*", subject))) => (any(), text::exact(subject)),
        (Some(_), _, Some((issuer, subject))) => (text::pattern(issuer), text::exact(subject)),
        (Some(end), _, None) => (any(), text::suffix(end)),
        (None, Some(_), Some((issuer, "*"))) => (text::exact(issuer), any()),
        (None, Some(_), Some((issuer, subject))) => (text::exact(issuer), text::pattern(subject)),
        (None, Some(start), None) => (text::prefix(start), any()),
        (None, None, parts) => {
            let (issuer, subject) = parts.unwrap_or((value, ""));
            (text::exact(issuer), text::exact(subject))
        }
    }
}

/// A claim is a text or a list of texts.
fn claim(path: &[&str], values: &[String]) -> Result<Principal, Unchecked> {
    let wanted = one_of(values.iter().map(|value| text_value(text::pattern(value))).collect());
    let path: Vec<&str> = std::iter::once(jwt_authn::PAYLOAD).chain(path.iter().copied()).collect();
    let matcher = metadata(jwt_authn::NAME, &path, one_of(vec![list_of(wanted.clone()), wanted]))?;
    Ok(principal(Identifier::SourcedMetadata(dynamic(matcher))))
}
