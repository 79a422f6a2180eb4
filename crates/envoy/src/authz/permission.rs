//! What is asked for: the attributes of a rule's operations, and those conditions that say where a connection goes.

use super::condition::{Attribute, RuleScope, Unchecked, each_value, permission};
use super::text;
use crate::listener::chain_match::cidr_range;
use xds_api::Wire;
use xds_api::envoy::{
    config::{
        core::v3::TypedExtensionConfig,
        rbac::v3::{Permission, SourcedMetadata, permission::Rule},
        route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier},
    },
    extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig,
    r#type::matcher::v3::{
        ListMatcher, MetadataMatcher, OrMatcher, PathMatcher, StringMatcher, ValueMatcher, list_matcher,
        metadata_matcher::{PathSegment, path_segment},
        path_matcher, value_matcher,
    },
};

/// An attribute of what is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// The authority of the request.
    Host,
    /// Its method.
    Method,
    /// Its path, without the query.
    Path,
    /// The port of the workload.
    Port,
    /// The address of the workload.
    Ip,
    /// The server name in the TLS handshake.
    ServerName,
    /// What another filter has left in the dynamic metadata.
    Metadata {
        /// The name of the filter.
        filter: &'a str,
        /// The key within its metadata.
        key: &'a str,
    },
}

impl Attribute for Target<'_> {
    type Matcher = Permission;

    fn is_http(&self) -> bool {
        matches!(self, Self::Host | Self::Method | Self::Path)
    }

    fn any_of(&self, values: &[String], scope: &RuleScope<'_>) -> Result<Option<Permission>, Unchecked> {
        let each = |one: &dyn Fn(&str) -> Result<Rule, Unchecked>| each_value(values, scope, |value| one(value).map(permission));
        match self {
            Self::Host => each(&|value| Ok(Rule::Header(header(":authority", value, true)))),
            Self::Method => each(&|value| Ok(Rule::Header(header(":method", value, false)))),
            Self::Path => each(&path),
            Self::Port => each(&|value| value.parse::<u16>().map(|port| Rule::DestinationPort(port.into())).map_err(|_| Unchecked)),
            Self::Ip => each(&|value| value.parse().map(|cidr| Rule::DestinationIp(cidr_range(&cidr))).map_err(|_| Unchecked)),
            Self::ServerName => each(&|value| Ok(Rule::RequestedServerName(text::pattern(value)))),
            Self::Metadata { filter, key } => match metadata_values(filter, key, values) {
                Ok(rule) => Ok(Some(permission(rule))),
                Err(unchecked) if scope.strict => Err(unchecked),
                Err(Unchecked) => Ok(None),
            },
        }
    }
}

/// A header with such a value; `*` asks for its presence.
pub fn header(name: &str, value: &str, ignore_case: bool) -> HeaderMatcher {
    let specifier = match value {
        "*" => HeaderMatchSpecifier::PresentMatch(true),
        _ => HeaderMatchSpecifier::StringMatch(StringMatcher { ignore_case, ..text::pattern(value) }),
    };
    HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..HeaderMatcher::default() }
}

/// A path, or a template with `{*}` for one element and `{**}` for any number of them.
fn path(value: &str) -> Result<Rule, Unchecked> {
    if !value.contains("{*}") && !value.contains("{**}") {
        let rule = path_matcher::Rule::Path(text::pattern(value));
        return Ok(Rule::UrlPath(PathMatcher { rule: Some(rule) }));
    }
    let template = UriTemplateMatchConfig { path_template: value.replace("{*}", "*").replace("{**}", "**") };
    if !is_template(&template.path_template) {
        return Err(Unchecked);
    }
    Ok(Rule::UriTemplate(TypedExtensionConfig { name: "uri-template".to_owned(), typed_config: Some(template.to_any()) }))
}

/// Whether Envoy takes the template (`uri_template_match.proto`): elements of literal characters, or `*` or `**` alone,
/// nothing but literals after `**`. It would refuse the whole listener otherwise.
fn is_template(template: &str) -> bool {
    let Some(path) = template.strip_prefix('/') else { return false };
    let literal = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@=".contains(c);
    let mut any_number = false;
    for element in path.split('/') {
        let wildcard = matches!(element, "*" | "**");
        if (wildcard && any_number) || (!wildcard && !element.chars().all(literal)) {
            return false;
        }
        any_number |= element == "**";
    }
    true
}

/// `[x]` is a list with the element `x`, anything else a text.
fn metadata_values(filter: &str, key: &str, values: &[String]) -> Result<Rule, Unchecked> {
    let one = |value: &String| match value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(element) => list_of(text_value(text::pattern(element))),
        None => text_value(text::pattern(value)),
    };
    let matcher = metadata(filter, &[key], one_of(values.iter().map(one).collect()))?;
    Ok(Rule::SourcedMetadata(dynamic(matcher)))
}

/// A value below `path` in the dynamic metadata of a filter. Envoy refuses empty names.
pub fn metadata(filter: &str, path: &[&str], value: ValueMatcher) -> Result<MetadataMatcher, Unchecked> {
    if filter.is_empty() || path.iter().any(|key| key.is_empty()) {
        return Err(Unchecked);
    }
    let path = path.iter().map(|key| PathSegment { segment: Some(path_segment::Segment::Key((*key).to_owned())) }).collect();
    Ok(MetadataMatcher { filter: filter.to_owned(), path, value: Some(value), invert: false })
}

/// Istio sends the older form `metadata`, which means the same and which a stock Envoy warns about in its log.
pub fn dynamic(matcher: MetadataMatcher) -> SourcedMetadata {
    SourcedMetadata { metadata_matcher: Some(matcher), ..SourcedMetadata::default() }
}

fn value(pattern: value_matcher::MatchPattern) -> ValueMatcher {
    ValueMatcher { match_pattern: Some(pattern) }
}

/// A text.
pub fn text_value(text: StringMatcher) -> ValueMatcher {
    value(value_matcher::MatchPattern::StringMatch(text))
}

/// A list with such an element.
pub fn list_of(element: ValueMatcher) -> ValueMatcher {
    let one_of = list_matcher::MatchPattern::OneOf(Box::new(element));
    value(value_matcher::MatchPattern::ListMatch(Box::new(ListMatcher { match_pattern: Some(one_of) })))
}

/// Any of the values; Envoy refuses an alternative of one.
pub fn one_of(values: Vec<ValueMatcher>) -> ValueMatcher {
    match <[ValueMatcher; 1]>::try_from(values) {
        Ok([only]) => only,
        Err(values) => value(value_matcher::MatchPattern::OrMatch(OrMatcher { value_matchers: values })),
    }
}
